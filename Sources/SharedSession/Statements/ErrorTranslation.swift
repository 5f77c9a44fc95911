import NIOCore
import PostgresWire

/// Puts a client's own names of statements into an engine's errors, and positions in its own text.
struct ErrorTranslation {
    var table: StatementTable?
    var plan: StatementPlan?

    func translate(_ whole: ByteBuffer) -> ByteBuffer {
        var body = whole.messageBody
        var changed = false
        let message = SessionMessage.message(.errorResponse) { result in
            while let field = body.readInteger(as: UInt8.self), field != 0 {
                guard let bytes = body.readText() else { break }
                let text = bytes.text
                let own = self.own(field, text)
                changed = changed || own != text
                result.writeInteger(field)
                if own == text {
                    result.writeImmutableBuffer(bytes)
                    result.writeInteger(UInt8(0))
                } else {
                    result.writeText(own)
                }
            }
            result.writeInteger(UInt8(0))
        }
        return changed ? message : whole
    }

    private func own(_ field: UInt8, _ text: String) -> String {
        if field == UInt8(ascii: "P"), let plan, plan.isRewritten, let position = Int(text) {
            return "\(plan.originalPosition(position))"
        }
        guard field == UInt8(ascii: "M"), let table, text.contains(table.prefix) else {
            return text
        }
        return Self.named(text, table)
    }

    private static func named(_ text: String, _ table: StatementTable) -> String {
        let parts = text.split(separator: "\"" + table.prefix, maxSplits: 1)
        guard parts.count == 2, let end = parts[1].firstIndex(of: "\""),
            let number = Int(parts[1][..<end]), let name = table.name(of: number)
        else { return text }
        let before = String(parts[0])
        let behind = String(parts[1][parts[1].index(after: end)...])
        let statement = "prepared statement "
        if name.isEmpty, before.hasSuffix(statement), behind.hasPrefix(" does not exist") {
            return String(before.dropLast(statement.count)) + "unnamed prepared statement" + behind
        }
        return before + "\"" + name + "\"" + behind
    }
}

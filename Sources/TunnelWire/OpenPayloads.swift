package import NIOCore

/// OPEN and OPEN_OK are written for every new client, so their JSON is written by hand: the general
/// encoder cost more than all the rest of opening a stream. It is JSON with its keys in order.
extension Open {
    /// The JSON, without a header.
    package var payload: ByteBuffer {
        var json = ByteBuffer()
        json.reserveCapacity(256)
        json.writeStaticString("{")
        if let after = self.after { json.writeString("\"after\":\(after),") }
        if let client = self.client {
            json.writeStaticString("\"client\":")
            json.writeJSONString(client)
            json.writeStaticString(",")
        }
        json.writeString("\"kind\":\"\(self.kind.rawValue)\",")
        if let parameters = self.parameters { json.writeParameters(parameters) }
        if let stream = self.stream { json.writeString("\"stream\":\(stream),") }
        json.writeString("\"window\":\(self.window)}")
        return json
    }
}

extension OpenOK {
    /// The JSON, without a header.
    package var payload: ByteBuffer {
        guard let engine = self.engine else {
            return ByteBuffer(string: "{\"window\":\(self.window)}")
        }
        var json = ByteBuffer(string: "{\"engine\":{")
        var comma = ""
        for (key, value) in [
            ("copyIn", engine.copyIn), ("holds", engine.holds), ("restarts", engine.restarts),
        ] {
            guard let value else { continue }
            json.writeString("\(comma)\"\(key)\":\(value)")
            comma = ","
        }
        if let name = engine.name {
            json.writeString("\(comma)\"name\":")
            json.writeJSONString(name)
        }
        json.writeString("},\"window\":\(self.window)}")
        return json
    }
}

extension ByteBuffer {
    fileprivate mutating func writeParameters(_ parameters: [[String]]) {
        self.writeStaticString("\"parameters\":[")
        for (index, pair) in parameters.enumerated() {
            if index > 0 { self.writeStaticString(",") }
            self.writeStaticString("[")
            for (place, text) in pair.enumerated() {
                if place > 0 { self.writeStaticString(",") }
                self.writeJSONString(text)
            }
            self.writeStaticString("]")
        }
        self.writeStaticString("],")
    }

    /// Writes a text in quotes; what RFC 8259, section 7, says must be escaped is.
    mutating func writeJSONString(_ text: String) {
        self.writeInteger(UInt8(ascii: "\""))
        if text.utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != 0x5C }) {
            self.writeString(text)
        } else {
            for byte in text.utf8 { self.writeEscaped(byte) }
        }
        self.writeInteger(UInt8(ascii: "\""))
    }

    private mutating func writeEscaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): self.writeStaticString("\\\"")
        case 0x5C: self.writeStaticString("\\\\")
        case 0..<0x20:
            let digits = String(byte, radix: 16)
            self.writeString("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
        default: self.writeInteger(byte)
        }
    }
}

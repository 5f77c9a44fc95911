import NIOCore
import PostgresWire

@testable import Deploy
@testable import PostgresClient

/// What a hostile source of a deploy can say: the first byte chooses the reader.
func fuzzDeploy(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    switch bytes.choice() % 3 {
    case 0, 1: try checkArchive(bytes)
    default: try checkCopy(&bytes)
    }
}

// MARK: An archive of pg_dump

private func checkArchive(_ bytes: ByteBuffer) throws(Broken) {
    let archive = Array(bytes.readableBytesView)
    guard let contents = try? ArchiveReader.contents(of: archive) else { return }
    try check(contents.entries.count <= archive.count, "entries of nothing")
    let again = try? ArchiveReader.contents(of: archive + [1, 2, 3])
    try check(again == contents, "what is behind the table changed it")
    let listing = TableOfContents.listing(of: contents.entries)
    try check(
        listing.utf8.filter { $0 == 10 || $0 == 13 }.count == contents.entries.count,
        "an entry has more than its line")
    let names = Set(contents.entries.prefix(2).compactMap(\.schema))
    var rules = RestoreRules(excludedSchemas: names)
    rules.leavesOutLargeObjects = archive.count.isMultiple(of: 2)
    let split = contents.split(by: rules)
    try check(
        split.kept.count + split.leftOut.count == contents.entries.count, "an entry was lost")
    try check(
        split.kept.allSatisfy { $0.schema.map { !names.contains($0) } ?? true },
        "an entry of a schema that is left out was kept")
    for entry in contents.entries { _ = (entry.identity, entry.language) }
}

// MARK: A COPY from it

/// Events in any order that two servers can make them come.
private func checkCopy(_ bytes: inout ByteBuffer) throws(Broken) {
    var machine = CopyMachine()
    var actions: [CopyMachine.Action] = []
    var rows: [CopySide: Int64] = [:]
    while bytes.readableBytes > 0 {
        let verb = bytes.choice()
        let side: CopySide = verb & 1 == 0 ? .source : .target
        switch verb >> 1 & 7 {
        case 0, 1:
            guard let format = CopyFormat(message("H", bytes.upTo(3))) else { continue }
            actions += machine.receive(.opened(side, format))
        case 2, 3: actions += machine.receive(.sourceDone)
        case 4:
            let tag = message("C", bytes.upTo(Int(verb >> 4)))
            let count = CopyFormat.rows(commandComplete: tag)
            if !machine.hasEnded { rows[side] = count }
            actions += machine.receive(.completed(side, rows: count))
        case 5:
            let error = PostgresError.parse(body: bytes.upTo(Int(verb >> 4)))
            actions += machine.receive(.failed(side, .server(error)))
        case 6: actions += machine.receive(.over(side))
        default: actions += machine.receive(.cancelled)
        }
    }
    try checkOnce(actions)
    for case .end(.success(let count)) in actions {
        try check(rows == [.source: count, .target: count], "rows that nobody counted")
        try check(actions.contains(.finishTarget), "a success without an end")
        try check(!actions.contains(.failTarget), "a success that was failed")
    }
}

private func checkOnce(_ actions: [CopyMachine.Action]) throws(Broken) {
    let once: [CopyMachine.Action] = [
        .forward, .finishTarget, .failTarget, .cancelSource, .cancelTarget,
    ]
    for action in once {
        try check(actions.filter { $0 == action }.count <= 1, "\(action) was said twice")
    }
    let ends = actions.filter { if case .end = $0 { true } else { false } }
    try check(ends.count <= 1, "it ended twice")
    if !ends.isEmpty { try check(actions.last == ends.last, "it went on behind its end") }
}

private func message(_ type: Unicode.Scalar, _ body: ByteBuffer) -> ByteBuffer {
    var whole = ByteBuffer(bytes: [UInt8(ascii: type)])
    whole.writeInteger(UInt32(body.readableBytes + 4))
    whole.writeImmutableBuffer(body)
    return whole
}

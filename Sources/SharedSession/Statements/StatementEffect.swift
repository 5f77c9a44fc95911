import NIOCore

/// What the completion of a statement means for a client's state.
enum StatementEffect: Sendable, Hashable {
    case none
    case begin
    case commit
    case rollback
    case savepoint(String)
    case rollbackTo(String)
    case release(String)
    case listen(String)
    case unlisten(String)
    case unlistenAll
    /// The statement's number, text and flags are with the entry.
    indirect case prepare(String, StatementTable.Entry)
    case deallocate(String)
    case deallocateAll
    case discardAll
    case resetAll
    /// Another statement does it; the tag that the client must see.
    case tagged(String)
    case notify
    /// COPY … FROM STDIN, which needs its data in the same call; its text.
    case copyIn(ByteBuffer)

    var copyText: ByteBuffer? {
        if case .copyIn(let text) = self { text } else { nil }
    }

    /// The same, without what its text holds on to.
    var compacted: StatementEffect {
        self.copyText.map { .copyIn(ByteBuffer(bytes: $0.readableBytesView)) } ?? self
    }

    /// The tag that the client must see, where another statement was run in its place.
    var tag: String? {
        switch self {
        case .deallocateAll: "DEALLOCATE ALL"
        case .discardAll: "DISCARD ALL"
        case .tagged(let tag): tag
        case .none, .begin, .commit, .rollback, .savepoint, .rollbackTo, .release, .listen,
            .unlisten, .unlistenAll, .prepare, .deallocate, .resetAll, .notify, .copyIn:
            nil
        }
    }
}

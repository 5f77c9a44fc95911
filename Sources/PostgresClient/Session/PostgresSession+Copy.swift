import NIOCore

extension PostgresSession {
    /// Copies rows: what a `COPY … TO STDOUT` of this session says goes into a
    /// `COPY … FROM STDIN` of `target`, buffer by buffer.
    ///
    /// No row is looked at, and the memory it takes does not depend on the table: a slow target
    /// stops the reading of the source. If either side fails, both sessions are brought back to
    /// where they can be used (a transaction of theirs may have failed, see
    /// ``transactionStatus``), and the first failure is thrown. When the task is cancelled both
    /// servers are asked to cancel. Two copies between the same two sessions in opposite directions
    /// would wait for each other.
    ///
    /// - Parameters:
    ///   - outSQL: `COPY … TO STDOUT`; one statement.
    ///   - target: The session that stores the rows, best on the same event loop.
    ///   - inSQL: `COPY … FROM STDIN`, of the same format and with as many columns.
    ///   - progress: Called on the source's event loop with the bytes moved so far, about once a
    ///     MiB and at the end of the data.
    /// - Returns: Rows and bytes.
    /// - Throws: ``CopyError``, also where the two servers do not count the same number of rows.
    @discardableResult
    public func copy(
        _ outSQL: String,
        into target: PostgresSession,
        _ inSQL: String,
        progress: @escaping @Sendable (_ bytes: Int64) -> Void = { _ in }
    ) async throws(CopyError) -> CopyResult {
        guard self !== target else {
            throw .source(.misuse(detail: "a session cannot copy into itself"))
        }
        let ticket = SessionTicket()
        let (from, into) = (self.line, target.line)
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let source = NIOLoopBoundBox.makeEmptyBox(
                    valueType: CopySourceRun.self, eventLoop: from.eventLoop)
                let splice = NIOLoopBoundBox.makeEmptyBox(
                    valueType: CopySplice.self, eventLoop: into.eventLoop)
                into.eventLoop.runHere {
                    let made = CopySplice(source: source, on: into.eventLoop, continuation)
                    splice.value = made
                    let writer = CopyTargetRun(inSQL, into.value, ticket, made)
                    // The source first: whatever happens to the target then reaches it.
                    from.eventLoop.runHere {
                        let reader = CopySourceRun(outSQL, from.value, ticket, splice, progress)
                        source.value = reader
                        from.value.enter(reader)
                    }
                    made.enter(writer, into.value)
                }
            }
        } onCancel: {
            ticket.markCancelled()
            from.eventLoop.runHere { from.value.cancel(ticket) }
            into.eventLoop.runHere { into.value.cancel(ticket) }
        }.get()
    }
}

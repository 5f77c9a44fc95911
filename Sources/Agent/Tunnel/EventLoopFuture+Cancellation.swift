import NIOCore

extension EventLoopFuture where Value: Sendable {
    /// Waits. If the task is cancelled meanwhile, that is called: it should make the future fail.
    func get(onCancel: @escaping @Sendable () -> Void) async throws -> Value {
        try await withTaskCancellationHandler {
            try await self.get()
        } onCancel: {
            onCancel()
        }
    }
}

import Deploy
import Foundation

/// What a person is told before a deploy replaces what is there.
enum DeployQuestion {
    /// The last deploy, its time and rows, and what will go.
    static func text(_ plan: DeployPlan) -> String {
        var lines: [String] = []
        if let last = plan.lastDeployment {
            let rows = last.rowCounts.values.reduce(0, +)
            lines.append(
                "The target holds deploy \(last.id) of \(Output.time(last.at)): "
                    + "\(last.rowCounts.count) tables, \(rows) rows.")
        }
        if !plan.removed.isEmpty {
            lines.append("Gone at the source, and dropped: \(Self.list(plan.removed)).")
        }
        if !plan.replaced.isEmpty {
            lines.append(
                "Not made by a deploy, and replaced: "
                    + "\(Self.list(plan.replaced.map { "\($0.kind.rawValue) \($0.identity)" })).")
        }
        if plan.options.keepsPrevious {
            lines.append("The state before is kept; pgshare deploy rollback brings it back.")
        }
        return lines.joined(separator: "\n")
    }

    /// Asks, and waits for a line, or until the task is cancelled.
    ///
    /// - Returns: Whether the answer is yes; no at the end of the input.
    /// - Throws: `CancellationError`.
    static func ask(_ question: String) throws -> Bool {
        print("\(question) [y/N] ", terminator: "")
        Output.flush()
        var input = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
        while poll(&input, 1, Self.pollMilliseconds) <= 0 { try Task.checkCancellation() }
        let answer = readLine()?.lowercased() ?? ""
        return answer == "y" || answer == "yes"
    }

    /// How soon a Ctrl-C is noticed at the question.
    private static let pollMilliseconds: Int32 = 100

    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(20).joined(separator: ", ")
        return names.count > 20 ? "\(shown) and \(names.count - 20) more" : shown
    }
}

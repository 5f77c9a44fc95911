import ArgumentParser
import Deploy
import Foundation

/// A command that could not do what it was asked: a sentence on standard error, exit code 1.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// How the process ends: 0 done, 1 failed, 2 usage.
enum CommandExit {
    /// Runs the command that `arguments` name and ends the process with its code.
    ///
    /// - Parameters:
    ///   - root: The root command.
    ///   - arguments: Without the program's name; nil means those of the process.
    static func run<Root: AsyncParsableCommand>(
        _ root: Root.Type, arguments: [String]? = nil
    ) async -> Never {
        do {
            var command = try Root.parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            exit(0)
        } catch {
            let answer = Self.answer(to: error, root: root)
            let stream = answer.code == 0 ? FileHandle.standardOutput : FileHandle.standardError
            stream.write(Data((answer.text + (answer.text.isEmpty ? "" : "\n")).utf8))
            exit(answer.code)
        }
    }

    /// The exit code of an error, and what to say.
    static func answer<Root: ParsableCommand>(
        to error: any Error, root: Root.Type
    ) -> (code: Int32, text: String) {
        switch error {
        case let error as SettingsError: (2, ProgressText.printableLines("Error: \(error)"))
        case let error as CommandFailure: (1, ProgressText.printableLines("Error: \(error)"))
        default:
            switch Root.exitCode(for: error) {
            case .success: (0, Root.fullMessage(for: error))
            case .validationFailure: (2, Root.fullMessage(for: error))
            default: (1, Root.fullMessage(for: error))
            }
        }
    }
}

import ArgumentParser
import ShareStore

/// Options of a command that works on the state folder, whether a relay runs or not.
struct StateOptions: ParsableArguments {
    @Option(help: "The state folder; default: ~/.local/state/pgshare.")
    var state: String?
    @Flag(help: "Print JSON.")
    var json = false

    func store() async throws -> SQLiteShareStore {
        let settings = try await Settings(configFile: nil)
        let folder = try await settings.string(
            .state, flag: self.state, default: DefaultPlaces.stateFolder())
        do {
            return try SQLiteShareStore(folder: folder)
        } catch {
            throw CommandFailure("\(error)")
        }
    }
}

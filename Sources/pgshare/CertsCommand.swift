import ArgumentParser
import Foundation
import Relay

/// `pgshare certs`.
struct CertsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certs", abstract: "Certificates for development.",
        subcommands: [Initialize.self])

    /// `pgshare certs init`.
    struct Initialize: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "init",
            abstract: "Make an authority and a certificate for the relay, unless they are good.")

        @Option(help: "Where the files go; default: STATE/certs.")
        var out: String?
        @Option(help: "The relay's domain; default: localhost.")
        var domain: String?
        @Option(help: "The relay's state folder; default: ~/.local/state/pgshare.")
        var state: String?
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() async throws {
            let settings = try await Settings(configFile: nil)
            let state = try await settings.string(
                .state, flag: self.state, default: DefaultPlaces.stateFolder())
            let domain = try await settings.string(
                .domain, flag: self.domain, default: "localhost")
            let folder = self.out ?? DefaultPlaces.certificateFolder(state: state)
            do {
                let (files, made) = try DevelopmentCertificates.ensure(
                    in: folder, domain: domain, now: Date())
                try self.report(files, domain: domain, made: made)
            } catch CertificateError.unusableDomain {
                throw SettingsError.unusableValue(.domain, expected: "a domain name")
            } catch let error as CertificateError {
                throw CommandFailure("\(error)")
            }
        }

        private func report(
            _ files: DevelopmentCertificates, domain: String, made: Bool
        ) throws {
            if self.json {
                let answer = Answer(
                    caFile: files.caFile, certFile: files.certificateFile,
                    keyFile: files.keyFile, made: made)
                try Output.printJSON(answer)
            } else {
                print(made ? "Made certificates for \(domain):" : "Certificates are still good:")
                print("  trusted by clients  \(files.caFile)")
                print("  served              \(files.certificateFile)")
                print("  its key             \(files.keyFile)")
            }
        }
    }

    /// What `certs init --json` prints.
    struct Answer: Codable, Hashable {
        var caFile: String
        var certFile: String
        var keyFile: String
        var made: Bool

        private enum CodingKeys: String, CodingKey {
            case caFile = "ca_file"
            case certFile = "cert_file"
            case keyFile = "key_file"
            case made
        }
    }
}

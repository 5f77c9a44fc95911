import Foundation

/// Programs that tests run.
enum Shell {
    /// Whether this is root, as whom Postgres refuses to run.
    static let asRoot = getuid() == 0

    /// What goes before the arguments of a program that must not be root.
    static let unprivileged =
        asRoot ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] : []

    /// Runs a program to its end.
    ///
    /// - Parameter arguments: The program first; found by PATH.
    /// - Returns: Its standard output without the last line break.
    /// - Throws: ``TestPostgresError`` with what it printed, if its status is not 0.
    @discardableResult
    static func run(_ arguments: [String]) throws -> String {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: "/")
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .newlines)
        guard process.terminationStatus == 0 else {
            throw TestPostgresError("\(arguments.prefix(2)): \(text)")
        }
        return text
    }

    /// A TCP port of 127.0.0.1 that was free a moment ago.
    static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) + getsockname(descriptor, $0, &length)
            }
        }
        guard status == 0 else { throw TestPostgresError("no free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

/// An authority, a server certificate for `localhost` and 127.0.0.1, and a client's.
enum TestCertificates {
    private static let script = """
        set -e; cd "$0"
        authority() {
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \\
                -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"
        }
        leaf() {
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \\
                -keyout "$1.key" -out "$1.csr"
            printf "$3" >"$1.ext"
            openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 $4 \\
                -extfile "$1.ext" -out "$1.pem"
            chmod 600 "$1.key"
        }
        authority ca; authority other
        leaf server localhost "subjectAltName=DNS:localhost,IP:127.0.0.1" -sha384
        leaf client certified "" -sha256
        """

    static func make(in folder: String) throws {
        try Shell.run(["bash", "-c", self.script, folder])
    }
}

import Foundation

/// Amazon RDS for PostgreSQL: finds, adopts or makes an instance.
///
/// - An instance is made with an encrypted disk, without a public address unless asked, and with
///   two tags: for which share, and from what its password is derived (``RDSKey``).
/// - `rds:` and `rds:new` adopt an instance of their name only if it has our tag.
/// - The password is the request's, else the one that the instance was made with.
///
/// Environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_PROFILE`,
/// `AWS_SHARED_CREDENTIALS_FILE`, `AWS_CONFIG_FILE`, `AWS_REGION`, `AWS_DEFAULT_REGION`;
/// `PGSHARE_RDS_URL` replaces the URL of the API, `PGSHARE_RDS_CA_FILE` names the certificates of
/// RDS's authorities (then the connection is `verify-full`, else `require`),
/// `PGSHARE_RDS_POLL_SECONDS` (0.01...300, default 30) how often an instance is looked at.
public struct RDSProvider: CloudProvider {
    /// How long things may take. RDS needs about ten minutes, and asks to be polled rarely.
    public var limits: ProviderLimits
    /// Time and chance.
    public var clock = ProviderClock.system
    /// Whether a host takes connections from here.
    public var reach: ProviderSettings.Reach = { host, port in
        await Reachability.probe(host: host, port: port)
    }

    private let credentials: AWSCredentials
    private let region: String?
    private let baseURL: String?
    private let certificateFile: String?
    private let stateFolder: String

    /// Reads the environment.
    ///
    /// - Parameters:
    ///   - environment: The variables of the process.
    ///   - stateFolder: Where the key lies that passwords of new instances are derived from.
    ///   - readFile: Gives the text of a file of AWS's tools, or nil where there is none.
    /// - Throws: ``ProviderFailure`` that says what to set.
    public init(
        environment: [String: String],
        stateFolder: String,
        readFile: (_ path: String) -> String? = Self.text(of:)
    ) throws(ProviderFailure) {
        self.credentials = try AWSCredentials.find(environment: environment, readFile: readFile)
        let region = AWSCredentials.findRegion(environment: environment, readFile: readFile)
        self.region = try region.map(RDSReference.region)
        self.baseURL =
            if let text = Self.word(ProviderSettings.urlVariable(of: .rds), environment) {
                try ProviderSettings.checked(text, of: .rds)
            } else { nil }
        self.certificateFile = Self.word("PGSHARE_RDS_CA_FILE", environment)
        self.stateFolder = stateFolder
        self.limits = ProviderLimits()
        self.limits.readySeconds = 1_800
        self.limits.pollSeconds = try Self.pollSeconds(environment)
        // Who wants to look more often does not want to wait longer after a failure.
        self.limits.firstBackOffSeconds = min(1, self.limits.pollSeconds)
    }

    /// Looks for the instance; see ``CloudProvider/survey(_:)``.
    ///
    /// - Parameter request: Which instance.
    /// - Throws: ``ProviderFailure``.
    /// - Returns: What there is, or what would be made.
    public func survey(
        _ request: ProviderRequest
    ) async throws(ProviderFailure) -> ProviderSurvey {
        let task = try self.task(request, isSurvey: true, key: nil)
        let shell = try self.shell(task.region, journal: NoJournal()) { _ in }
        switch try await shell.run(RDSMachine(task)) {
        case .surveyed(let survey): return survey
        case .prepared: throw ProviderFailure("a survey prepares nothing")
        }
    }

    /// Finds, adopts or makes the instance, and waits until it takes connections from here.
    ///
    /// - Parameters:
    ///   - request: Which instance.
    ///   - journal: Told before and after an instance is made.
    ///   - progress: Told a sentence a step.
    /// - Throws: ``ProviderFailure``; an instance that was made stays and is adopted next time.
    /// - Returns: How to connect.
    public func prepare(
        _ request: ProviderRequest,
        journal: any ProviderJournal,
        progress: @escaping @Sendable (String) -> Void
    ) async throws(ProviderFailure) -> ProviderDatabase {
        let key = try RDSKey(folder: self.stateFolder)
        let task = try self.task(request, isSurvey: false, key: key)
        let shell = try self.shell(task.region, journal: journal, progress: progress)
        switch try await shell.run(RDSMachine(task)) {
        case .prepared(let database): return try self.checked(database)
        case .surveyed: throw ProviderFailure("a preparation ends with a database")
        }
    }

    /// Nothing was lent.
    public func release(_ database: ProviderDatabase) async {}

    // Parts

    private func task(
        _ request: ProviderRequest,
        isSurvey: Bool,
        key: RDSKey?
    ) throws(ProviderFailure) -> RDSMachine.Task {
        var reference = try RDSReference(request.reference, name: request.name)
        // The source's own version restores best; RDS takes a major alone as its newest minor.
        if reference.creation != nil, reference.creation?.engineVersion == nil {
            reference.creation?.engineVersion = request.sourceMajor.map { "\($0)" }
        }
        guard let region = reference.region ?? self.region else {
            throw ProviderFailure(
                "an rds: target needs a region",
                advice: "Set AWS_REGION, or write rds:…?region=eu-central-1.")
        }
        let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
        let salt = (0..<20).compactMap { _ in letters.randomElement() }
        return RDSMachine.Task(
            reference: reference, name: request.name, region: region, isSurvey: isSurvey,
            key: key, salt: String(salt), password: request.password,
            certificateFile: self.certificateFile, limits: self.limits)
    }

    private func shell(
        _ region: String,
        journal: any ProviderJournal,
        progress: @escaping @Sendable (String) -> Void
    ) throws(ProviderFailure) -> ProviderShell {
        // Source: AWS General Reference, "Amazon RDS endpoints".
        let domain = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        let base = self.baseURL ?? "https://rds.\(region).\(domain)"
        let dialect = try Self.dialect(self.credentials, region: region, base: base)
        return ProviderShell(
            http: ProviderHTTP(
                base: base, dialect: dialect, limits: self.limits, clock: self.clock),
            clock: self.clock, reach: self.reach, journal: journal, progress: progress)
    }

    private static func dialect(
        _ credentials: AWSCredentials,
        region: String,
        base: String
    ) throws(ProviderFailure) -> ProviderDialect {
        guard let url = URLComponents(string: base), let name = url.host, url.path.isEmpty else {
            throw ProviderFailure(
                "PGSHARE_RDS_URL is not usable", advice: "Write https://HOST, without a path.")
        }
        let host = url.port.map { "\(name):\($0)" } ?? name
        let signer = AWSSigner(credentials: credentials, region: region, service: "rds")
        let secrets = [credentials.secretAccessKey, credentials.sessionToken].compactMap { $0 }
        return ProviderDialect(
            authorize: { call, now in
                let type = call.headers.first { $0.name == "Content-Type" }
                call.headers += signer.headers(
                    method: call.method.rawValue, host: host,
                    headers: type.map { [$0.name: $0.value] } ?? [:],
                    body: Array(call.body ?? Data()), at: now)
                call.secrets += secrets.map { ProviderSecret($0) }
            },
            explain: { RDSRefusal(body: $0)?.description },
            isThrottled: { status, body in
                status >= 400 && RDSRefusal(body: body)?.isThrottling == true
            })
    }

    private func checked(
        _ database: ProviderDatabase
    ) throws(ProviderFailure) -> ProviderDatabase {
        guard database.password.reveal.isEmpty else { return database }
        let user = Printable.text(database.keywords["user", default: ""])
        throw ProviderFailure(
            "the password of \(user) is not known: pgshare did not make the RDS instance "
                + "\(database.project.name), or on another machine",
            advice: "Set PGSHARE_TARGET_PASSWORD.")
    }

    // Environment

    /// The text of a file, or nil where there is none.
    public static func text(of path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func pollSeconds(
        _ environment: [String: String]
    ) throws(ProviderFailure) -> Double {
        guard let text = Self.word("PGSHARE_RDS_POLL_SECONDS", environment) else { return 30 }
        guard let seconds = Double(text), (0.01...300).contains(seconds) else {
            throw ProviderFailure("PGSHARE_RDS_POLL_SECONDS is not in 0.01...300")
        }
        return seconds
    }

    private static func word(_ name: String, _ environment: [String: String]) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// A survey writes nothing down.
private struct NoJournal: ProviderJournal {
    func knows(_ project: ProviderProject) -> Bool { false }
    func creating(_ project: ProviderProject) {}
    func created(_ project: ProviderProject) {}
    func adopted(_ project: ProviderProject) {}
}

import Deploy
import Testing

/// One fact that spoils the fixture, and the finding that it makes.
struct PlanCase: Sendable, CustomTestStringConvertible {
    let code: Finding.Code
    let severity: Finding.Severity
    let testDescription: String
    let change: @Sendable (inout PlanInput) -> Void

    init(
        _ code: Finding.Code, _ severity: Finding.Severity, _ description: String,
        _ change: @escaping @Sendable (inout PlanInput) -> Void
    ) {
        self.code = code
        self.severity = severity
        self.testDescription = description
        self.change = change
    }
}

@Suite struct PlanFindingTests {
    @Test(arguments: PlanCases.all)
    func `a fact makes its finding`(example: PlanCase) {
        let plan = PlanFixture.plan(example.change)

        let found = plan.findings.filter { $0.code == example.code }
        #expect(found.map(\.severity) == [example.severity])
        #expect(found.allSatisfy { !$0.sentence.hasSuffix(".") && !$0.sentence.isEmpty })
        #expect(plan.isBlocked || example.severity != .blocking)
    }

    @Test(arguments: PlanCases.all)
    func `a blocking finding says what to do`(example: PlanCase) {
        let blocking = PlanFixture.plan(example.change).findings
            .filter { $0.severity == .blocking }

        #expect(blocking.allSatisfy { $0.fix?.isEmpty == false })
    }

    @Test func `without such a fact there is no such finding`() {
        let plan = PlanFixture.plan()

        #expect(plan.findings.map(\.code) == [.sourceSnapshot, .sizes])
        #expect(!plan.isBlocked)
    }

    @Test func `the two findings of every deploy have their exceptions`() {
        let plan = PlanFixture.plan {
            $0.options.content = .schemaOnly
            $0.source.server.canExportSnapshot = false
        }

        #expect(plan.findings.isEmpty)
    }

    @Test func `every kind of finding has its case`() {
        let codes: Set<Finding.Code> = Set(PlanCases.all.map { $0.code })

        #expect(Finding.Code.allCases.filter { !codes.contains($0) } == [])
    }

    @Test func `the gravest come first`() {
        let plan = PlanFixture.plan {
            $0.target.server.isInRecovery = true
            $0.source.publications = ["p"]
        }

        #expect(plan.findings.map(\.severity) == plan.findings.map(\.severity).sorted(by: >))
        #expect(plan.findings.first?.severity == .blocking)
    }

    @Test(arguments: PlanCases.harmless)
    func `what looks alike and is harmless makes no finding`(example: PlanCase) {
        let codes = PlanFixture.plan(example.change).findings
            .filter { $0.severity >= example.severity }.map(\.code)

        #expect(!codes.contains(example.code))
    }
}

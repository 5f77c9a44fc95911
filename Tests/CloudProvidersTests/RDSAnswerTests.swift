import Foundation
import Testing

@testable import CloudProviders

struct XMLTreeTests {
    private static func parse(_ text: String) throws(XMLViolation) -> XMLTree {
        try XMLTree(parsing: Array(text.utf8))
    }

    @Test func `elements, text, entities and CDATA are read`() throws {
        let tree = try Self.parse(
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <!-- greeting --><a:Answer xmlns="http://x/" y='>'>
              <Empty/><Message kind = "x">1 &lt; 2 &amp; &#x41;&#66;<![CDATA[<&>]]></Message >
              <List><Item>a</Item><Item>ü</Item></List>
            </a:Answer>
            """)
        #expect(tree.name == "Answer")
        #expect(tree["Message"] == "1 < 2 & AB<&>")
        #expect(tree["Empty"] == nil)
        #expect(tree.first("List")?.all("Item").map(\.text) == ["a", "ü"])
        #expect(tree.first("List", "Item")?.text == "a")
        #expect(tree.first("List", "Absent") == nil)
    }

    @Test func `a document type is refused, so no entity can grow or read a file`() {
        let bomb = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>"
        #expect(throws: XMLViolation.documentType) { try Self.parse(bomb) }
    }

    @Test func `depth has a limit`() throws {
        let limit = XMLTree.maximumDepth
        let most = String(repeating: "<a>", count: limit) + String(repeating: "</a>", count: limit)
        #expect(try Self.parse(most).name == "a")
        let more = String(repeating: "<a>", count: limit + 1)
        #expect(throws: XMLViolation.tooDeep) { try Self.parse(more) }
    }

    @Test(arguments: [
        "", "  ", "<", "<a", "<a>", "<a></b>", "</a>", "words", "<a b></a>", "<a b=c></a>",
        "<a>&x;</a>", "<a>&#xD800;</a>", "<a>&#0;</a>", "<a>&", "<a><![CDATA[x", "<![CDATA[x]]>",
        "<!--", "<></>", "<a b='", "<?xml",
    ])
    func `what is no document is refused`(text: String) {
        #expect(throws: XMLViolation.self) { try Self.parse(text) }
    }

    @Test func `an answer cut anywhere is refused`() throws {
        let whole = Array("<?xml?><a x=\"1\"><b>&lt;<![CDATA[c]]></b><!--d--><e/></a>".utf8)
        #expect(try XMLTree(parsing: whole).children.count == 2)
        for length in 0..<whole.count {
            #expect(throws: XMLViolation.self) { try XMLTree(parsing: Array(whole.prefix(length))) }
        }
    }

    @Test func `size has a limit`() {
        let bytes = [UInt8](repeating: 0x20, count: XMLTree.maximumBytes + 1)
        #expect(throws: XMLViolation.tooLarge(bytes: bytes.count)) { try XMLTree(parsing: bytes) }
    }
}

struct RDSInstanceTests {
    static func instance(status: String, endpoint: Bool = true) throws -> RDSInstance {
        let place =
            endpoint
            ? "<Endpoint><Address>a.rds.amazonaws.com</Address><Port>5432</Port></Endpoint>" : ""
        let text = """
            <DBInstance><DBInstanceIdentifier>a</DBInstanceIdentifier>
            <DBInstanceStatus>\(status)</DBInstanceStatus><MasterUsername>m</MasterUsername>
            <Engine>postgres</Engine><EngineVersion>17.4</EngineVersion><DBName>app</DBName>
            <DBInstanceArn>arn:aws:rds:x:1:db:a</DBInstanceArn>\(place)
            <PubliclyAccessible>true</PubliclyAccessible>
            <TagList><Tag><Key>pgshare:deployment</Key><Value>d1</Value></Tag>
            <Tag><Key>empty</Key><Value/></Tag></TagList></DBInstance>
            """
        return try #require(RDSInstance(try XMLTree(parsing: Array(text.utf8))))
    }

    @Test func `an instance is read from its element`() throws {
        let instance = try Self.instance(status: "available")
        #expect(instance.endpoint == .init(host: "a.rds.amazonaws.com", port: 5432))
        #expect(instance.tags == ["pgshare:deployment": "d1", "empty": ""])
        #expect(instance.user == "m" && instance.database == "app" && instance.isPublic)
        #expect(instance.resourceName == "arn:aws:rds:x:1:db:a")
    }

    @Test(arguments: ["DBInstanceIdentifier", "DBInstanceStatus", "MasterUsername"])
    func `an element without what RDS always sends is no instance`(missing: String) throws {
        let names = ["DBInstanceIdentifier", "DBInstanceStatus", "MasterUsername"]
        let fields = names.filter { $0 != missing }.map { "<\($0)>x</\($0)>" }.joined()
        let tree = try XMLTree(parsing: Array("<DBInstance>\(fields)</DBInstance>".utf8))
        #expect(RDSInstance(tree) == nil)
    }

    @Test(arguments: [
        "creating", "backing-up", "modifying", "rebooting", "configuring-log-exports",
        "resetting-master-credentials", "starting", "upgrading", "a status of next year",
    ])
    func `an instance on its way is waited for`(status: String) throws {
        #expect(try Self.instance(status: status).readiness == .waiting)
    }

    @Test(arguments: [
        "deleted", "deleting", "failed", "incompatible-restore", "incompatible-parameters",
        "incompatible-network", "insufficient-capacity", "stopped", "storage-full",
        "inaccessible-encryption-credentials", "restore-error", "incompatible-option-group",
    ])
    func `an instance that needs a person is not waited for`(status: String) throws {
        guard case .ended(let advice) = try Self.instance(status: status).readiness else {
            Issue.record("\(status) is waited for")
            return
        }
        #expect(!advice.isEmpty)
    }

    @Test(arguments: ["available", "storage-optimization"])
    func `an instance is ready once it has an endpoint`(status: String) throws {
        let place = RDSInstance.Endpoint(host: "a.rds.amazonaws.com", port: 5432)
        #expect(try Self.instance(status: status).readiness == .ready(place))
        #expect(try Self.instance(status: status, endpoint: false).readiness == .waiting)
    }
}

struct RDSReferenceTests {
    private static func reference(
        _ text: String,
        name: String = "share"
    ) throws(ProviderFailure) -> RDSReference {
        guard let reference = try ProviderReference.parse("rds:\(text)") else {
            throw ProviderFailure("no provider")
        }
        return try RDSReference(reference, name: name)
    }

    @Test func `an instance that exists is named`() throws {
        let plain = try Self.reference("orders")
        #expect(plain.identifier == "orders" && plain.creation == nil && plain.region == nil)
        let more = try Self.reference("orders?region=eu-west-1&database=a%20b&user=u")
        #expect(more.region == "eu-west-1" && more.database == "a b" && more.user == "u")
    }

    @Test func `a new instance has defaults, and the share's own may exist`() throws {
        for (text, mustBeNew) in [("", false), ("new", true)] {
            let reference = try Self.reference(text, name: "My Share_1")
            #expect(reference.identifier == "my-share-1")
            #expect(reference.creation == RDSCreation())
            #expect(reference.creation?.isPublic == false)
            #expect(reference.mustBeNew == mustBeNew)
        }
    }

    @Test func `a new instance is told in full`() throws {
        let reference = try Self.reference(
            "new?name=orders&class=db.m7g.large&storage=100&region=us-west-2&public=yes&version=17"
                + "&database=shop&user=boss")
        #expect(reference.identifier == "orders" && reference.region == "us-west-2")
        #expect(reference.database == "shop" && reference.user == "boss")
        let creation = try #require(reference.creation)
        #expect(creation.instanceClass == "db.m7g.large" && creation.storage == 100)
        #expect(creation.isPublic && creation.engineVersion == "17")
    }

    @Test(arguments: [
        "UPPER", "a-", "a--b", "1a", "a_b", "ä", "a b", "orders?colour=red", "orders?class=db.x",
        "orders?region", "new?storage=19", "new?storage=65537", "new?storage=20GB",
        "new?public=maybe", "new?class=t3.micro", "new?name=", "orders?region=a.evil.example/",
        "new?region=x", "new?name=a&name=b", "orders?database=%zz", "a/b",
        String(repeating: "a", count: 64),
    ])
    func `a reference that cannot be right is refused`(text: String) {
        #expect(throws: ProviderFailure.self) { try Self.reference(text) }
    }

    @Test(arguments: [
        ("a", "a"), ("My Share_1", "my-share-1"), ("9 lives", "pgshare-9-lives"), ("ä", "pgshare"),
        ("a---b--", "a-b"), ("--x", "pgshare-x"), ("", "pgshare"),
        (String(repeating: "ab-", count: 40), String(repeating: "ab-", count: 20) + "ab"),
    ])
    func `any name becomes an identifier`(name: String, identifier: String) throws {
        let made = RDSReference.identifier(from: name)
        #expect(made == identifier)
        #expect(try Self.reference(made).identifier == made)
    }
}

struct RDSRefusalTests {
    @Test func `a refusal is read from its body and from its own words`() throws {
        let body = """
            <ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error>
            <Type>Sender</Type><Code>DBInstanceNotFound</Code><Message>a: not found\u{7}.</Message>
            </Error><RequestId>1</RequestId></ErrorResponse>
            """
        let refusal = try #require(RDSRefusal(body: Data(body.utf8)))
        #expect(refusal.description == "DBInstanceNotFound: a: not found.")
        #expect(RDSRefusal(description: refusal.description) == refusal)
        #expect(refusal.isNotFound && !refusal.isTaken && !refusal.isThrottling)
    }

    @Test(arguments: ["", "<html>", "<html><body/></html>", "{\"message\":\"x\"}"])
    func `a body that is not of RDS is no refusal of it`(body: String) {
        #expect(RDSRefusal(body: Data(body.utf8)) == nil)
    }

    @Test(arguments: ["Throttling", "ThrottlingException", "RequestLimitExceeded"])
    func `throttling is known by its code`(code: String) {
        #expect(RDSRefusal(description: "\(code): Rate exceeded").isThrottling)
    }
}

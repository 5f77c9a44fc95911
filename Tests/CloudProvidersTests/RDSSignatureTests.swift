import Foundation
import Testing

@testable import CloudProviders

/// The first three rows are of AWS's published Signature Version 4 test suite (get-vanilla,
/// post-vanilla, post-x-www-form-urlencoded); the others were made with botocore 1.43.11.
struct RDSSignatureTests {
    struct Row: Sendable {
        var name: String
        var method = "POST"
        var host = "example.amazonaws.com"
        var headers: [String: String] = [:]
        var body = ""
        var region = "us-east-1"
        var service = "service"
        var time = "2015-08-30T12:36:00Z"
        var token: String?
        var date = "20150830T123600Z"
        var scope = "20150830/us-east-1/service"
        var signed = "host;x-amz-date"
        var signature: String
    }

    private static let form = "application/x-www-form-urlencoded"
    private static let formUTF8 = "application/x-www-form-urlencoded; charset=utf-8"
    private static let question =
        "Action=DescribeDBInstances&Version=2014-10-31&DBInstanceIdentifier=pgshare-demo"

    static let rows = [
        Row(
            name: "get-vanilla", method: "GET",
            signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        Row(
            name: "post-vanilla",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        Row(
            name: "post-x-www-form-urlencoded", headers: ["Content-Type": Self.form],
            body: "Param1=value1", signed: "content-type;host;x-amz-date",
            signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        Row(
            name: "RDS", host: "rds.eu-central-1.amazonaws.com",
            headers: ["Content-Type": Self.formUTF8], body: Self.question,
            region: "eu-central-1", service: "rds", time: "2026-11-21T09:00:00Z",
            date: "20261121T090000Z", scope: "20261121/eu-central-1/rds",
            signed: "content-type;host;x-amz-date",
            signature: "a1de2d8f23c25740c96ba3eb14485a672643305c5791f58676919af2e1c69f6d"),
        Row(
            name: "RDS with a temporary key", host: "rds.eu-central-1.amazonaws.com",
            headers: ["content-type": Self.formUTF8], body: Self.question,
            region: "eu-central-1", service: "rds", time: "2026-11-21T09:00:00Z",
            token: "FwoGZXIvYXdzEXAMPLE//TOKEN==",
            date: "20261121T090000Z", scope: "20261121/eu-central-1/rds",
            signed: "content-type;host;x-amz-date;x-amz-security-token",
            signature: "09110fd31c170b69dafdeb43be0a9bd5354c1ba8966b909727efbf1c421c9402"),
        Row(
            name: "a port and a leap day", host: "127.0.0.1:5000",
            headers: ["Content-Type": "  \(Self.formUTF8.replacing(" ", with: "   "))  "],
            body: "Action=X&Value=a%20b%2B%C3%A9%2A~",
            region: "us-west-2", service: "rds", time: "2024-02-29T23:59:59Z",
            date: "20240229T235959Z", scope: "20240229/us-west-2/rds",
            signed: "content-type;host;x-amz-date",
            signature: "a5a00830e42c09ad1352ef9febed7546eb4de7773d8205eecc8295b0f322a230"),
    ]

    @Test(arguments: Self.rows)
    func `a request is signed as AWS signs it`(row: Row) throws {
        let credentials = AWSCredentials(
            accessKeyID: "AKIDEXAMPLE",
            secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", sessionToken: row.token)
        let signer = AWSSigner(credentials: credentials, region: row.region, service: row.service)

        let headers = signer.headers(
            method: row.method, host: row.host, headers: row.headers, body: Array(row.body.utf8),
            at: try Date(row.time, strategy: .iso8601))

        let authorization =
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\(row.scope)/aws4_request, "
            + "SignedHeaders=\(row.signed), Signature=\(row.signature)"
        let found = Dictionary(uniqueKeysWithValues: headers.map { ($0.name, $0.value) })
        var expected = ["X-Amz-Date": row.date, "Authorization": authorization]
        expected["X-Amz-Security-Token"] = row.token
        #expect(found == expected)
    }

    @Test func `credentials print nothing of themselves`() {
        let credentials = AWSCredentials(
            accessKeyID: "AKID", secretAccessKey: "hush", sessionToken: "silence")
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped] {
            #expect(!text.contains("hush") && !text.contains("silence"))
        }
    }
}

struct AWSCredentialsTests {
    private static let file = """
        # keys
        [default]
        aws_access_key_id = AKIDDEFAULT
        aws_secret_access_key=first/secret=
        s3 =
          max_concurrent_requests = 20
          aws_access_key_id = NESTED

        [ work ]
        AWS_ACCESS_KEY_ID = AKIDWORK
        aws_secret_access_key = second
        aws_session_token = token==
        [empty]
        region = eu-west-1
        """

    private static func read(_ path: String) -> String? {
        switch path {
        case "/home/a/.aws/credentials", "/elsewhere": Self.file
        case "/home/a/.aws/config": "[default]\nregion=eu-north-1\n[profile work]\nregion = ap-a-1"
        default: nil
        }
    }

    @Test func `the environment goes before the file`() throws {
        let found = try AWSCredentials.find(
            environment: [
                "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B", "AWS_SESSION_TOKEN": "C",
                "HOME": "/home/a",
            ], readFile: Self.read)
        #expect(
            found == AWSCredentials(accessKeyID: "A", secretAccessKey: "B", sessionToken: "C"))
    }

    @Test func `a profile is read from the shared file`() throws {
        let plain = try AWSCredentials.find(environment: ["HOME": "/home/a"], readFile: Self.read)
        #expect(
            plain == AWSCredentials(accessKeyID: "AKIDDEFAULT", secretAccessKey: "first/secret="))
        let work = try AWSCredentials.find(
            environment: ["AWS_PROFILE": "work", "AWS_SHARED_CREDENTIALS_FILE": "/elsewhere"],
            readFile: Self.read)
        #expect(
            work
                == AWSCredentials(
                    accessKeyID: "AKIDWORK", secretAccessKey: "second", sessionToken: "token=="))
    }

    @Test(arguments: [
        (["AWS_ACCESS_KEY_ID": "A", "HOME": "/home/a"], "only one of"),
        (["AWS_SECRET_ACCESS_KEY": "A", "HOME": "/home/a"], "only one of"),
        (["HOME": "/home/b"], "no AWS credentials"),
        ([:], "no AWS credentials"),
        (["HOME": "/home/a", "AWS_PROFILE": "absent"], "has no profile \"absent\""),
        (["HOME": "/home/a", "AWS_PROFILE": "empty"], "has no keys"),
    ])
    func `missing credentials are told apart`(environment: [String: String], words: String) {
        let failure = #expect(throws: ProviderFailure.self) {
            try AWSCredentials.find(environment: environment, readFile: Self.read)
        }
        #expect(failure?.message.contains(words) == true)
        #expect(failure?.advice?.contains("AWS_PROFILE") == true)
    }

    @Test(arguments: [
        (["AWS_REGION": "eu-a-1", "AWS_DEFAULT_REGION": "eu-b-1"], "eu-a-1"),
        (["AWS_DEFAULT_REGION": "eu-b-1", "HOME": "/home/a"], "eu-b-1"),
        (["HOME": "/home/a"], "eu-north-1"),
        (["HOME": "/home/a", "AWS_PROFILE": "work"], "ap-a-1"),
        (["HOME": "/home/b"], nil),
    ])
    func `the region is where AWS's tools look for it`(
        environment: [String: String],
        region: String?
    ) {
        let found = AWSCredentials.findRegion(environment: environment, readFile: Self.read)
        #expect(found == region)
    }
}

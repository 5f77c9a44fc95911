import SharePolicy
import Testing

struct CIDRTests {
    @Test(arguments: [
        ("192.0.2.0/24", "192.0.2.255"), ("192.0.2.7", "192.0.2.7"), ("0.0.0.0/0", "8.8.8.8"),
        ("192.0.2.0/24", "::ffff:192.0.2.9"), ("192.0.2.0/24", "::FFFF:c000:0209"),
        ("192.0.2.7/24", "192.0.2.200"), ("::ffff:192.0.2.0/120", "192.0.2.9"),
        ("2001:db8::/32", "2001:db8:ffff::1"), ("::1", "0:0:0:0:0:0:0:1"), ("::/0", "fe80::1%eth0"),
        ("2001:db8::1/128", "2001:DB8:0::1"), ("10.0.0.0/31", "10.0.0.1"),
    ])
    func `an address lies in its network`(network: String, address: String) throws {
        #expect(try #require(CIDR(network)).contains(address: address))
    }

    @Test(arguments: [
        ("192.0.2.0/24", "192.0.3.0"), ("192.0.2.7", "192.0.2.8"), ("0.0.0.0/0", "2001:db8::1"),
        ("::/0", "192.0.2.1"), ("::/0", "::ffff:192.0.2.1"), ("2001:db8::/32", "2001:db9::1"),
        ("192.0.2.0/24", ""), ("192.0.2.0/24", "/run/postgresql"), ("10.0.0.0/31", "10.0.0.2"),
        ("2001:db8::1", "2001:db8::2"),
    ])
    func `an address of elsewhere does not`(network: String, address: String) throws {
        #expect(try !#require(CIDR(network)).contains(address: address))
    }

    @Test(arguments: [
        "", "/", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+1", "192.0.2/24",
        "192.0.2.0.1", "192.0.02.1", "256.0.0.1", "192.0.2.0/24/1", "::/129", ":::", "1::2::3",
        "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "12345::", "g::", "fe80::1%eth0",
        "::ffff:192.0.2.0/95", "+1::", "::-0", "192.0.2.1::", "a host", "192.0.2.1:5432",
    ])
    func `what is no network is refused`(text: String) {
        #expect(CIDR(text) == nil)
    }

    @Test func `networks with the same members are equal`() {
        #expect(CIDR("192.0.2.7/24") == CIDR("192.0.2.0/24"))
        #expect(CIDR("::ffff:10.0.0.1") == CIDR("10.0.0.1/32"))
        #expect(CIDR("2001:db8::/32") != CIDR("2001:db8::/33"))
    }
}

struct SourceAddressTests {
    @Test(arguments: [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), ("192.0.2.1", "::ffff:192.0.2.1"),
        ("/run/socket", "unknown"),
    ])
    func `one subscriber is one source`(first: String, second: String) {
        #expect(SourceAddress(first) == SourceAddress(second))
    }

    @Test(arguments: [
        ("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.1", "192.0.2.2"), ("192.0.2.1", "x"),
    ])
    func `two subscribers are two sources`(first: String, second: String) {
        #expect(SourceAddress(first) != SourceAddress(second))
    }
}

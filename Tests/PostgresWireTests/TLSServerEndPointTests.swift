import Crypto
import Testing

@testable import PostgresWire

/// A certificate as far as its signature algorithm matters: three fields, DER.
private func certificate(algorithm: [UInt8]) -> [UInt8] {
    sequence(sequence([]) + sequence(algorithm) + [0x03, 0x02, 0x00, 0x01])
}

private func sequence(_ content: [UInt8]) -> [UInt8] { [0x30, UInt8(content.count)] + content }

private let rsa: [UInt8] = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1]
private let ecdsa: [UInt8] = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3]
private let hash: [UInt8] = [0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2]
private let null: [UInt8] = [0x05, 0]

struct TLSServerEndPointTests {
    @Test(
        arguments: [
            (rsa + [4] + null, 32), (rsa + [5] + null, 32), (rsa + [11] + null, 32),
            (rsa + [12] + null, 48), (rsa + [13] + null, 64), (ecdsa + [2], 32), (ecdsa + [3], 48),
            (ecdsa + [4], 64), ([0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], 32),
            (rsa + [10] + sequence([]), 32), (rsa + [10], 32),
            (rsa + [10] + pss(hash + [1]), 32), (rsa + [10] + pss(hash + [2]), 48),
            (rsa + [10] + pss(hash + [3]), 64), ([0x06, 3, 0x2b, 0x65, 0x70], nil),
        ] as [([UInt8], Int?)])
    func `the hash is that of the signature algorithm`(algorithm: [UInt8], expected: Int?) {
        let der = certificate(algorithm: algorithm)
        let data = TLSServerEndPoint.hash(certificateDER: der)
        #expect(data?.count == expected)
        if expected == 32 { #expect(data == Array(SHA256.hash(data: der))) }
        if expected == 48 { #expect(data == Array(SHA384.hash(data: der))) }
        if expected == 64 { #expect(data == Array(SHA512.hash(data: der))) }
    }

    @Test(arguments: [[], [0x30], [0x30, 0], [0x30, 0x80, 1], [0xff, 0xff, 0xff]] as [[UInt8]])
    func `what is no certificate has no hash`(bytes: [UInt8]) {
        #expect(TLSServerEndPoint.hash(certificateDER: bytes) == nil)
    }
}

private func pss(_ hash: [UInt8]) -> [UInt8] {
    let algorithm = sequence(hash + null)
    return sequence([0xa0, UInt8(algorithm.count)] + algorithm)
}

import NIOSSL

/// The host name that a certificate must be for, as libpq checks it.
///
/// NIOSSL, given a name, is also content with a certificate for the *address* it has reached. That
/// address came from DNS or from whoever routes it, so with `sslmode=verify-full` the name the
/// owner wrote must be in the certificate.
enum ServerNameCheck {
    /// Whether the certificate is for `name`; NIOSSL has already said yes to name *or* address.
    ///
    /// Source: RFC 6125, section 6.4.3; `pq_verify_peer_name_matches_certificate` in libpq.
    static func matches(_ certificate: NIOSSLCertificate, name: String) -> Bool {
        let alternatives = certificate._subjectAlternativeNames()
        // Without an address in it, only the name can have matched.
        guard alternatives.contains(where: { $0.nameType == .ipAddress }) else { return true }
        return alternatives.contains {
            $0.nameType == .dnsName
                && self.matches(pattern: String(decoding: $0.contents, as: UTF8.self), name: name)
        }
    }

    /// Whether a name of a certificate, perhaps `*.example.com`, covers a host name.
    static func matches(pattern: String, name: String) -> Bool {
        let pattern = pattern.lowercased()
        var name = name.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        guard pattern.hasPrefix("*.") else { return pattern == name }
        // The star stands for one label, and a whole one.
        guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return false }
        return name[dot...] == pattern.dropFirst()
    }
}

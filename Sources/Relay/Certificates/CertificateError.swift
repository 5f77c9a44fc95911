/// Why there is no usable certificate. For the operator; clients never see it.
public enum CertificateError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The domain cannot stand in a certificate.
    case unusableDomain(String)
    /// A file or folder could not be read or written.
    case file(path: String, detail: String)
    /// The certificate or its key could not be understood, or they do not belong together.
    case unusablePair(certificate: String, key: String, detail: String)
    /// Making a certificate failed.
    case signing(detail: String)

    /// One sentence for the operator.
    public var description: String {
        switch self {
        case .unusableDomain(let domain):
            "'\(domain)' is not a domain name that a certificate can be made for"
        case .file(let path, let detail):
            "\(path): \(detail)"
        case .unusablePair(let certificate, let key, let detail):
            "certificate \(certificate) with key \(key) cannot be used: \(detail)"
        case .signing(let detail):
            "making a certificate failed: \(detail)"
        }
    }
}

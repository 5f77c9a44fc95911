import Foundation

/// A password's bytes as Postgres hashes them.
///
/// ASCII is taken as it is. Other text is mapped and normalised (NFKC) by SASLprep; where SASLprep
/// forbids it (a forbidden or unassigned character, mixed directions, or nothing left), its bytes
/// are taken as they are, as Postgres does.
///
/// Source: RFC 4013, RFC 3454; `pg_saslprep` in PostgreSQL's `saslprep.c`. NFKC and the age of
/// characters come from the Unicode tables of Foundation and of Swift: letters first assigned after
/// Unicode 3.2 count as unassigned, as the RFC asks. Direction is known here for the scripts that
/// existed then; a Left-to-Right character is any letter that is none of these.
func saslPrepared(_ password: String) -> [UInt8] {
    let raw = Array(password.utf8)
    guard raw.contains(where: { $0 >= 0x80 }) else { return raw }
    var mapped = String.UnicodeScalarView()
    for scalar in password.unicodeScalars {
        if SASLprep.isSpace(scalar) {
            mapped.append(" ")
        } else if !SASLprep.isMappedToNothing(scalar) {
            mapped.append(scalar)
        }
    }
    let isAllowed = !mapped.isEmpty && mapped.allSatisfy(SASLprep.isAllowed)
    guard isAllowed, SASLprep.hasOneDirection(mapped) else { return raw }
    return Array(String(mapped).precomposedStringWithCompatibilityMapping.utf8)
}

/// The tables of RFC 3454 that SASLprep names.
private enum SASLprep {
    /// Table B.1.
    static func isMappedToNothing(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00ad, 0x034f, 0x1806, 0x180b...0x180d, 0x200b...0x200d, 0x2060, 0xfe00...0xfe0f,
            0xfeff:
            true
        default: false
        }
    }

    /// Table C.1.2; U+200B is in B.1 as well, and Postgres maps spaces first, which makes it one.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00a0, 0x1680, 0x2000...0x200b, 0x202f, 0x205f, 0x3000: true
        default: false
        }
    }

    /// Tables C.2.1 to C.9, and A.1: what Unicode 3.2 did not know.
    static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00...0x1f, 0x7f...0x9f, 0x06dd, 0x070f, 0x180e, 0x200c...0x200f, 0x2028...0x202e,
            0x2060...0x2063, 0x206a...0x206f, 0xfeff, 0xfff9...0xfffd, 0x1d173...0x1d17a,
            0x0340, 0x0341, 0x2ff0...0x2ffb, 0xe0001, 0xe0020...0xe007f,
            0xe000...0xf8ff, 0xf0000...0x10ffff, 0xfdd0...0xfdef:
            return false
        default:
            guard scalar.value & 0xfffe != 0xfffe, let age = scalar.properties.age else {
                return false
            }
            return (age.major, age.minor) <= (3, 2)
        }
    }

    /// RFC 3454, section 6: right-to-left text has no left-to-right letter and starts and ends so.
    static func hasOneDirection(_ scalars: String.UnicodeScalarView) -> Bool {
        guard scalars.contains(where: self.isRightToLeft) else { return true }
        guard let first = scalars.first, let last = scalars.last else { return true }
        let hasLeftToRight = scalars.contains { scalar in
            scalar.properties.isAlphabetic && !self.isRightToLeft(scalar)
                && scalar.properties.canonicalCombiningClass == .notReordered
        }
        return !hasLeftToRight && self.isRightToLeft(first) && self.isRightToLeft(last)
    }

    /// Table D.1.
    static func isRightToLeft(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x05be, 0x05c0, 0x05c3, 0x05d0...0x05ea, 0x05f0...0x05f4, 0x061b, 0x061f,
            0x0621...0x063a, 0x0640...0x064a, 0x066d...0x066f, 0x0671...0x06d5, 0x06dd,
            0x06e5...0x06e6, 0x06fa...0x06fe, 0x0700...0x070d, 0x0710, 0x0712...0x072c,
            0x0780...0x07a5, 0x07b1, 0x200f, 0xfb1d, 0xfb1f...0xfb28, 0xfb2a...0xfb36,
            0xfb38...0xfb3c, 0xfb3e, 0xfb40...0xfb41, 0xfb43...0xfb44, 0xfb46...0xfbb1,
            0xfbd3...0xfd3d, 0xfd50...0xfd8f, 0xfd92...0xfdc7, 0xfdf0...0xfdfc, 0xfe70...0xfe74,
            0xfe76...0xfefc:
            true
        default: false
        }
    }
}

import Foundation
public import SharePolicy

/// What the store could not do. For operators: it may name files, and never goes to a client.
public enum ShareStoreError: Error, Hashable, Sendable {
    /// The folder or the file cannot be made, opened or locked to its owner.
    case cannotOpen(path: String, reason: String)
    /// The file is damaged, or is no pgshare store.
    case corrupted(path: String, reason: String)
    /// The file or its folder cannot be written.
    case readOnly(path: String)
    /// The disk is full. Nothing of the change was kept.
    case diskFull(path: String)
    /// Another process held the file for longer than the busy timeout. Try again.
    case busy(path: String)
    /// A newer pgshare has changed the file's layout.
    case newerLayout(path: String)
    /// There is already a token of this name.
    case tokenNameTaken(OwnerID)
    /// There is no token of this name that could be revoked.
    case tokenUnknown(OwnerID)
    /// The owner's token was revoked, so it can have no shares.
    case ownerRevoked(OwnerID)
    /// Another live share has the name.
    case shareNameTaken(ShareName)
    /// The share belongs to another owner.
    case shareTaken(ShareID)
    /// The owner, or the relay, has all the live shares it may have.
    case tooManyShares(OwnerID)
    /// Another run deploys the same source to the same target.
    case deploymentRunning(DeploymentRecord)
    /// The run no longer has its lease: another one found it silent and took over.
    case deploymentTakenOver(id: String)
    /// There is no deployment whose id begins like this.
    case deploymentUnknown(String)
    /// More than one deployment has an id that begins like this.
    case deploymentAmbiguous(String)
    /// Anything else that SQLite reports.
    case failed(path: String, reason: String)
}

extension ShareStoreError: CustomStringConvertible {
    /// One line for the operator: what is wrong and what to do.
    public var description: String {
        switch self {
        case .cannotOpen(let path, let reason):
            "cannot open the store \(path): \(reason)"
        case .corrupted(let path, let reason):
            "the store \(path) is damaged (\(reason)); move it away or restore a copy"
        case .readOnly(let path):
            "the store \(path) cannot be written; check its permissions and those of its folder"
        case .diskFull(let path):
            "no space left for the store \(path); free some and try again"
        case .busy(let path):
            "another process is holding the store \(path); try again"
        case .newerLayout(let path):
            "the store \(path) was written by a newer pgshare; update this one"
        case .tokenNameTaken(let name):
            "there is already a token named \(name); revoke it or choose another name"
        case .tokenUnknown(let name):
            "there is no token named \(name); see pgshare token list"
        case .ownerRevoked(let owner):
            "the token of \(owner) was revoked"
        case .shareNameTaken(let name):
            "another share is named \(name)"
        case .shareTaken(let id):
            "the share \(id) belongs to another owner"
        case .tooManyShares(let owner):
            "there are too many live shares, of \(owner) or of all"
        case .deploymentRunning(let other):
            "deployment \(other.id) of the same source to the same target is running since "
                + "\(other.startedAt.formatted(.iso8601)) (process \(other.lease.pid) on "
                + "\(other.lease.host)); wait for it, or end that process"
        case .deploymentTakenOver(let id):
            "deployment \(id) was silent for too long and another run took its place"
        case .deploymentUnknown(let text):
            "there is no deployment \(text); see pgshare deploy list"
        case .deploymentAmbiguous(let text):
            "more than one deployment begins with \(text); give more of the id"
        case .failed(let path, let reason):
            "the store \(path) failed: \(reason)"
        }
    }
}

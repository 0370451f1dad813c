//! The one write protocol, checksums and manifests.

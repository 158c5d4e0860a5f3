//! TLS on the client, bus and replication ports.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, OneOf, PORT, Password, Secret, TEXT, YesNo, choices, int};

choices! {
    /// Whether clients have to show a certificate.
    pub enum ClientCertificates {
        Ignored = "no",
        Required = "yes",
        Optional = "optional",
    }
}

topic! {
    /// TLS ports, certificates and protocol choices.
    Tls at tls;

    /// TLS client port; 0 listens on none.
    tls_port: u16 = 0, "tls-port", PORT;
    /// Speak TLS on the cluster bus.
    tls_cluster: bool = false, "tls-cluster", YesNo;
    /// Speak TLS to the primary.
    tls_replication: bool = false, "tls-replication", YesNo;
    /// Whether clients have to show a certificate.
    tls_auth_clients: ClientCertificates = ClientCertificates::Required, "tls-auth-clients", OneOf;
    /// Server certificate, PEM file.
    tls_cert_file: String = String::new(), "tls-cert-file", TEXT;
    /// Private key of the server certificate, PEM file.
    tls_key_file: String = String::new(), "tls-key-file", TEXT;
    /// Pass phrase of `tls-key-file`.
    tls_key_file_pass: Secret = Secret::default(), "tls-key-file-pass", Password, SENSITIVE;
    /// Certificate for outgoing connections; empty uses the server's.
    tls_client_cert_file: String = String::new(), "tls-client-cert-file", TEXT;
    /// Private key for outgoing connections.
    tls_client_key_file: String = String::new(), "tls-client-key-file", TEXT;
    /// Pass phrase of `tls-client-key-file`.
    tls_client_key_file_pass: Secret = Secret::default(), "tls-client-key-file-pass", Password, SENSITIVE;
    /// Bundle of certificate authorities, PEM file.
    tls_ca_cert_file: String = String::new(), "tls-ca-cert-file", TEXT;
    /// Directory of certificate authorities.
    tls_ca_cert_dir: String = String::new(), "tls-ca-cert-dir", TEXT;
    /// Protocol versions, separated by blanks; empty means the library's choice.
    tls_protocols: String = String::new(), "tls-protocols", TEXT;
    /// Cipher suites of TLS 1.2 and before.
    tls_ciphers: String = String::new(), "tls-ciphers", TEXT;
    /// Cipher suites of TLS 1.3.
    tls_ciphersuites: String = String::new(), "tls-ciphersuites", TEXT;
    /// Let clients resume sessions.
    tls_session_caching: bool = true, "tls-session-caching", YesNo;
    /// Sessions kept for resumption.
    tls_session_cache_size: u32 = 20 * 1024, "tls-session-cache-size", int(0, INT_MAX);
    /// Seconds a session can be resumed.
    tls_session_cache_timeout: u32 = 300, "tls-session-cache-timeout", int(0, INT_MAX);
}

//! Who may do what.

use crate::config::directive::topic;
use crate::config::kind::{LONG_MAX, OneOf, Password, Secret, TEXT, choices, int};

choices! {
    /// Who may use a dangerous feature.
    pub enum Permission {
        Nobody = "no",
        Everybody = "yes",
        /// Only connections from this machine.
        Local = "local",
    }
}

choices! {
    /// Channel permissions of a new ACL user.
    pub enum PubsubDefault {
        AllChannels = "allchannels",
        ResetChannels = "resetchannels",
    }
}

topic! {
    /// Passwords, ACLs and locks on dangerous commands.
    Security at security;

    /// Password of the default user; empty means none.
    requirepass: Secret = Secret::default(), "requirepass", Password, SENSITIVE;
    /// File of ACL users; empty means that they stand in the configuration file.
    aclfile: String = String::new(), "aclfile", TEXT, IMMUTABLE;
    /// Entries of ACL LOG.
    acllog_max_len: u64 = 128, "acllog-max-len", int(0, LONG_MAX);
    /// Channel permissions of a new ACL user.
    acl_pubsub_default: PubsubDefault = PubsubDefault::ResetChannels, "acl-pubsub-default", OneOf;
    /// Who may call DEBUG.
    enable_debug_command: Permission = Permission::Nobody, "enable-debug-command", OneOf, IMMUTABLE;
    /// Who may call MODULE.
    enable_module_command: Permission = Permission::Nobody, "enable-module-command", OneOf, IMMUTABLE;
    /// Who may set protected directives.
    enable_protected_configs: Permission = Permission::Nobody, "enable-protected-configs", OneOf, IMMUTABLE;
}

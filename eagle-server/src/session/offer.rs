//! What a client says of itself before it becomes a replica (REPLCONF).

/// The longest address a replica may announce.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// What a replica is, wants and can do.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ReplicaOffer {
    /// Where it listens itself; 0 if it did not say.
    pub port: i64,
    /// Its address, if the one it connects from is not the one to show.
    pub address: Option<String>,
    /// It finds the end of a payload of unknown length by a mark.
    pub takes_marks: bool,
    /// It understands that a history may go on under a new name.
    pub takes_new_ids: bool,
    /// It wants a snapshot, and nothing that comes after.
    pub snapshot_only: bool,
    /// It wants only a part of the snapshot.
    pub is_filtered: bool,
    /// Of a filtered snapshot: it wants the function libraries.
    pub functions: bool,
}

//! EagleDB storage engine.

pub mod bits;
#[cfg(not(loom))]
pub mod pmem;
pub mod resp;
#[cfg(not(loom))]
pub mod store;
/// What the model checks of the table need of the store.
#[cfg(all(loom, test))]
mod store {
    #[expect(dead_code, reason = "the models use a part of the table")]
    pub(crate) mod dash;
    #[expect(dead_code, reason = "the models use a part of it")]
    pub(crate) mod error;
}
pub mod sync;
pub mod text;

//! EagleDB storage engine.

#[cfg(not(loom))]
pub mod pmem;
pub mod resp;
#[cfg(not(loom))]
pub mod store;
pub mod sync;
pub mod text;

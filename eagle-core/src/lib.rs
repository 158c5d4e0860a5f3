//! EagleDB storage engine.

pub mod pmem;
pub mod store;
pub mod sync;

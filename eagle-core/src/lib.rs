//! EagleDB storage engine.

pub mod pmem;
pub mod resp;
pub mod store;
pub mod sync;
pub mod text;

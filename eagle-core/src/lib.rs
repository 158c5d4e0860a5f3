//! EagleDB storage engine.

pub mod store;

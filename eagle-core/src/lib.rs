//! EagleDB storage engine.

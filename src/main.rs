//! The `eagledb` binary. Everything it does lives in `eagle-server`.
fn main() -> std::process::ExitCode {
    eagle_server::main()
}

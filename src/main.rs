//! The binary: everything is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // mimalloc asks for huge pages. A proxy's small heap fills hardly any of them, and they would be half of
    // what Ravelin holds. Where that is unknown or not allowed, it takes more memory and no harm is done.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    ravelin::command::main(std::env::args_os())
}

//! The binary: everything is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // mimalloc asks for huge pages, of which a proxy's small heap fills hardly any: half of what Ravelin
    // would hold. What is not there on another system, or not allowed, is a matter of memory alone.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    ravelin::command::main(std::env::args_os())
}

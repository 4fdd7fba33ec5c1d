//! The eBPF programs in the running kernel, without an agent: verifier and BPF_PROG_TEST_RUN. Needs root.

mod every_program_passes_the_verifier;
mod fragments_ship_the_same_records;
mod kernel_and_host_ship_the_same_records;
mod large_frames_ship_the_same_records;
mod tunnels_and_tags_ship_the_same_records;

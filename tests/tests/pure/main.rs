//! Tests without root or network: packets, captures and conversations through the tracer as a library or a
//! command.

mod a_forged_close_changes_nothing;
mod a_forger_changes_nothing;
mod a_loss_costs_what_was_lost;
mod an_exchange_costs_what_is_allowed;
mod built_packets_say_what_scenes_say;
mod connections_pair_again;
mod copies_under_other_names_make_no_event;
mod equal_tuples_stay_apart;
mod every_scene_gives_its_events;
mod floods_stay_in_bounded_memory;
mod fragments_give_the_events_of_whole_packets;
mod framing_finds_every_message;
mod hostile_fragments_are_counted_as_lost;
mod nothing_false_nothing_silent;
mod nothing_is_invented_in_mid_stream;
mod plaintext_streams_give_the_same_events;
mod programs_only_read_packets;
mod regressions;
mod replayed_captures_equal_the_servers_logs;
mod the_filter_changes_no_event;
mod the_reader_builds_with_cargo_alone;

//! The pipeline from records to events, as tables: segments in, lines of text out.

mod ends;
mod http;
mod lines;
mod loss;
mod tcp;

mod talk;

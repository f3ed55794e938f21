//! GRU inference on any GPU.

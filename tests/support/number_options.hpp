// SPDX-License-Identifier: Apache-2.0
// What:        the options that are numbers: their property, their field, the least that is taken.
// Flow:        tests of core/settings.hpp and core/properties.hpp.
// Memory:      a constant.
// Valid until: always.
// Errors:      none.
#ifndef KSHARE_TESTS_NUMBER_OPTIONS_HPP
#define KSHARE_TESTS_NUMBER_OPTIONS_HPP

#include <cstdint>

#include "kshare/core/options.hpp"

struct NumberOption {
  const char* name;
  int32_t kshare::Options::*field;
  int32_t least;
  bool is_most = false;  // of another one, below which it may not be either
};

inline constexpr NumberOption kNumberOptions[] = {
    {"max.poll.records", &kshare::Options::max_poll_records, 1},
    {"fetch.min.bytes", &kshare::Options::fetch_min_bytes, 0},
    {"fetch.max.bytes", &kshare::Options::fetch_max_bytes, 1},
    {"fetch.max.wait.ms", &kshare::Options::fetch_max_wait_ms, 0},
    {"request.timeout.ms", &kshare::Options::request_timeout_ms, 1},
    {"socket.connection.setup.timeout.ms", &kshare::Options::connection_setup_timeout_ms, 1},
    {"retry.backoff.ms", &kshare::Options::retry_backoff_ms, 1},
    {"retry.backoff.max.ms", &kshare::Options::retry_backoff_max_ms, 1, true},
    {"reconnect.backoff.ms", &kshare::Options::reconnect_backoff_ms, 1},
    {"reconnect.backoff.max.ms", &kshare::Options::reconnect_backoff_max_ms, 1, true},
    {"metadata.max.age.ms", &kshare::Options::metadata_max_age_ms, 1},
    {"metadata.recovery.rebootstrap.trigger.ms", &kshare::Options::rebootstrap_trigger_ms, 1},
    {"ack.linger.ms", &kshare::Options::ack_linger_ms, 0},
    {"lock.margin.ms", &kshare::Options::lock_margin_ms, 0},
};

#endif  // KSHARE_TESTS_NUMBER_OPTIONS_HPP

// SPDX-License-Identifier: Apache-2.0
// What:        Errc and Status: how every call says what happened, in 4 bytes.
// Flow:        used everywhere below include/kshare.
// Memory:      none; all-zero is success.
// Errors:      see the list; each line says what it means and what to do next. `detail` holds a
//              Kafka error code for the rows that say so, an errno for connection failures, else 0.
#ifndef KSHARE_BASE_STATUS_HPP
#define KSHARE_BASE_STATUS_HPP

#include <cstdint>

namespace kshare {

// 16 bits, so that a Status has no gap and is made as one constant.
enum class Errc : uint16_t {
  ok = 0,
  // ---- The caller's: nothing has changed, correct the call and try again.
  bad_option,       // an option is missing or out of its range; last_error() names it
  too_long,         // a text does not fit its limit (names, group id, client id, bootstrap list)
  too_many,         // more topics than Limits::topics_max; more commits than can be kept apart:
                    // poll() until earlier ones have been answered; as a connection's: more lookups
                    // at a time than the resolver has room for
  not_running,      // the consumer has not been started, is closed, or has failed for good
  already_running,  // start() without close() before
  no_entropy,       // the pool gave no random octets: member ids would not be unique
  // ---- One acknowledgement's.
  unknown_record,  // no such record is held: settled already, never handed out, or an old RecordId
  lock_lost,       // the broker's lock on the record has run out: it will be delivered again, maybe
                   // to another member. The handle is void and its slot is free
  already_acknowledged,  // it is on its way, the last word can no longer be changed
  wrong_mode,            // no such kind of acknowledgement
  cannot_renew,          // the broker is older than Kafka 4.2, or other leaders wait for this
                         // connection: acknowledge the record before its lock ends
  // ---- A commit's.
  in_progress,     // not all of its acknowledgements have been answered: go on polling
  unknown_ticket,  // no such commit: never made, or so long ago that its results are gone
  // ---- A connection's; kshare tries again by itself with back-off.
  connect_failed,  // detail: errno
  disconnected,    // the peer closed, or the network failed. detail: errno or 0
  timed_out,       // no answer within request.timeout.ms, or no connection in its time
  malformed,       // the peer sent bytes that are no Kafka answer
  bad_address,     // the host is no numeric address and no resolver is set, or it can be no name
  name_not_found,  // neither the hosts file nor DNS knows the host, or it has no address
  lookup_failed,   // no DNS server gave an answer. detail: errno or 0
  // ---- Fatal: poll() answers false from now on, status() keeps it.
  unsupported_broker,     // the broker is too old for share groups as we speak them
  share_groups_off,       // share groups are switched off (the feature share.version is 0)
  group_rejected,         // the coordinator refused the member for good; detail: Kafka error code
  authentication_failed,  // SASL or TLS; detail: Kafka error code or the TLS library's
  // ---- Reported by events, consumption goes on.
  broker_error,  // detail: Kafka error code
};

struct Status {
  Errc code = Errc::ok;
  int16_t detail = 0;

  constexpr bool ok() const { return code == Errc::ok; }
  friend constexpr bool operator==(Status a, Status b) {
    return a.code == b.code && a.detail == b.detail;
  }
};
static_assert(sizeof(Status) == 4, "Status is passed in a register");

}  // namespace kshare

#endif  // KSHARE_BASE_STATUS_HPP

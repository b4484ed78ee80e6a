// SPDX-License-Identifier: Apache-2.0
// What:        the work on one record: handle.cpp is the place for your code.
// Flow:        main.cpp -> handle() -> accept, release or reject.
#ifndef GATEWAY_HANDLE_HPP
#define GATEWAY_HANDLE_HPP

#include "kshare/record/record.hpp"

namespace gateway {

enum class Work {
  done,   // accepted: it never comes again
  retry,  // released: it comes again at once, here or at another member, its delivery count one
          // higher; at the group's limit (5 unless configured) it is dropped
  bad,    // rejected: no member could ever do it
};

// Nothing is fed to the watchdog and no heartbeat is sent while this works: let it answer well
// within WatchdogSec= and the record's lock (30 s unless the group says otherwise). A record may
// come twice, so the work should bear that. The record's views end when this returns.
Work handle(const kshare::Record& record);

}  // namespace gateway

#endif  // GATEWAY_HANDLE_HPP

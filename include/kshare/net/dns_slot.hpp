// SPDX-License-Identifier: Apache-2.0
// What:        DnsSlot: one name, its addresses in the order of trying, and the state of its
//              lookup; DnsStorage, a table of them.
// Flow:        net/dns.hpp works on it.
// Memory:      248 bytes a slot, and the longest name; all-zero is an unused one.
// Valid until: a slot without users may be given to another name at any time.
// Errors:      find_, take_: nullptr.
#ifndef KSHARE_NET_DNS_SLOT_HPP
#define KSHARE_NET_DNS_SLOT_HPP

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/net/dns_config.hpp"
#include "kshare/net/dns_message.hpp"
#include "kshare/net/posix_address.hpp"

namespace kshare::posix {

struct DnsSlot {
  const char* name;  // in DnsStorage::names
  Address addresses[kDnsAddressesMax];
  Address winner;       // connected to last: goes first
  Instant until;        // settled: fresh until then
  Instant since;        // when it was settled; while asking: when that began
  Instant used;         // by open(), last
  Instant due;          // asking: the end of patience
  uint32_t generation;  // of the socket
  int fd_plus_one;
  uint32_t ttl_s;
  Status failure;  // settled without addresses: why
  uint16_t ids[2];
  int16_t error;  // the last errno on the way to a server
  uint8_t count;  // of addresses
  uint8_t name_bytes;
  uint8_t users;
  uint8_t first_server;
  uint8_t tries;  // servers asked for this candidate
  uint8_t round;
  uint8_t candidate;
  uint8_t missing;  // bits: questions without an answer
  uint8_t broken;   // bits: this server has failed to answer
  bool has_winner;
  bool absolute;  // a dot at the end: no search list
  bool asking;
  bool stale;      // the addresses are those of an earlier lookup
  bool silent;     // some server has not answered in this round
  bool uncertain;  // for some candidate all servers have failed

  std::string_view text() const { return {name, name_bytes}; }
  bool has_news() const { return count != 0 && !stale; }

  void begin(Instant now) {
    asking = true;
    since = now;
    stale = count != 0;
    uncertain = false;
    candidate = 0;
    error = 0;
    ttl_s = INT32_MAX;
  }
  void begin_candidate() {
    shut();
    missing = 3;
    broken = tries = round = 0;
    silent = false;
  }
  void shut() {
    if (fd_plus_one != 0) static_cast<void>(::close(fd_plus_one - 1));
    fd_plus_one = 0;
  }
  // Without a result; what is stale stays for the next time.
  void end() {
    shut();
    asking = false;
    until = Instant{};
    if (!stale) count = 0;
    stale = false;
  }
  void settle(Instant now, Instant its_end) {
    shut();
    asking = stale = false;
    since = now;
    until = its_end;
    interleave();
    put_winner_first();
  }
  void forget_addresses() {
    count = 0;
    stale = false;
    failure = {};
  }
  // The address that could be connected to goes first, also when the name is looked up again; but
  // not while others count on the order.
  void prefer(uint32_t i) {
    if (i >= count) return;
    winner = addresses[i];
    has_winner = true;
  }
  void put_winner_first() {
    for (uint32_t i = 0; has_winner && i < count; ++i) {
      if (same_address(addresses[i], winner)) move(i, 0);
    }
  }

  // Takes new addresses; the first ones end the stale ones. If there are too many, each family has
  // half of the room.
  void adopt(const DnsAnswer& answer) {
    if (stale) forget_addresses();
    if (answer.ttl_s < ttl_s) ttl_s = answer.ttl_s;
    for (uint32_t i = 0; i < answer.count; ++i) add(answer.addresses[i]);
  }

 private:
  void add(const Address& address) {
    uint32_t same = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (same_address(addresses[i], address)) return;
      same += addresses[i].v6 == address.v6 ? 1 : 0;
    }
    if (count < kDnsAddressesMax) {
      addresses[count++] = address;
      return;
    }
    if (same >= kDnsAddressesMax / 2) return;
    uint32_t last = count - 1u;
    while (addresses[last].v6 == address.v6) --last;
    for (; last + 1 < count; ++last) addresses[last] = addresses[last + 1];
    addresses[last] = address;
  }
  void move(uint32_t from, uint32_t to) {
    const Address moved = addresses[from];
    for (; from > to; --from) addresses[from] = addresses[from - 1];
    addresses[to] = moved;
  }
  // IPv6, IPv4, IPv6, ... (RFC 8305), each family in the server's order.
  void interleave() {
    bool v6 = true;
    for (uint32_t i = 0; i < count; ++i, v6 = !v6) {
      uint32_t next = i;
      while (next < count && addresses[next].v6 != v6) ++next;
      if (next < count) move(next, i);
    }
  }
};

// NAMES: lookups at a time, and names kept; NAME_BYTES: the longest name that can be looked up.
template <uint32_t NAMES = 8, uint32_t NAME_BYTES = 128>
struct DnsStorage {
  static_assert(NAMES > 0 && NAMES <= UINT16_MAX && NAME_BYTES > 0);
  DnsConfig config;
  DnsSlot slots[NAMES];
  char names[NAMES * NAME_BYTES];
};

// The freshest slot that knows the name and is not about to ask for it.
inline DnsSlot* find_dns_slot(Span<DnsSlot> slots, std::string_view name, bool absolute) {
  DnsSlot* found = nullptr;
  for (DnsSlot& slot : slots) {
    if (slot.asking || slot.absolute != absolute || !same_dns_name(slot.text(), name)) continue;
    if (found == nullptr || slot.until > found->until) found = &slot;
  }
  return found;
}

// A slot for a new name: the one without users that was used longest ago.
inline DnsSlot* take_dns_slot(Span<DnsSlot> slots) {
  DnsSlot* taken = nullptr;
  for (DnsSlot& slot : slots) {
    if (slot.users == 0 && (taken == nullptr || slot.used < taken->used)) taken = &slot;
  }
  if (taken != nullptr) *taken = DnsSlot{};
  return taken;
}

// A name that was looked up twice at the same time needs no second slot.
inline void drop_other_dns_slots(Span<DnsSlot> slots, const DnsSlot& kept) {
  for (DnsSlot& slot : slots) {
    if (&slot == &kept || slot.users != 0 || slot.absolute != kept.absolute) continue;
    if (same_dns_name(slot.text(), kept.text())) slot = DnsSlot{};
  }
}

}  // namespace kshare::posix

#endif  // KSHARE_NET_DNS_SLOT_HPP

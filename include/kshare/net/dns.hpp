// SPDX-License-Identifier: Apache-2.0
// What:        Dns: a Resolver over the hosts file and the DNS servers of resolv.conf, without heap
//              and without blocking; DnsStorage, its memory.
// Flow:        net/posix_tcp.hpp -> Dns -> hosts file, cache, or a UDP socket of the lookup's own.
// Memory:      DnsStorage<NAMES, NAME_BYTES>: 248 bytes and the longest name, for each name, and
//              352 more; all of it .bss. Itself about 120 bytes. A name is kept while it is looked
//              up or connected to, and as a cache behind that.
// Valid until: the storage, the texts in DnsOptions and the Dns must outlive the pool that uses it.
// Errors:      name_not_found: DNS says so, or knows no address. lookup_failed: no server gave an
//              answer, or a file cannot be opened at the moment; detail: errno or 0. bad_address:
//              this can be no name. too_long: above NAME_BYTES. too_many: more lookups at a time
//              than NAMES.
//
//   static kshare::posix::DnsStorage<> names;
//   static kshare::posix::Dns dns{names};
//   ... net.use(dns);  // before start()
//
// A and AAAA are asked at once, over UDP, with a random id from a random port. Each server has 1 s,
// in the next round 2 s, then 4 s, 8 s in all; a server that refuses or fails is passed over. A
// truncated answer counts for what is in it, one above 512 bytes for the first 512; TCP is never
// used. Answers are kept for their TTL (at most an hour; 10 s where none of the addresses could be
// connected to), "no such name" for 3 s. If no server answers, an address that was good before is
// used again. The hosts file (64 KiB of it) is read at each lookup, resolv.conf when it has
// changed: files on a disk that hangs block.
#ifndef KSHARE_NET_DNS_HPP
#define KSHARE_NET_DNS_HPP

#include <errno.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/assert.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/net/dns_config.hpp"
#include "kshare/net/dns_message.hpp"
#include "kshare/net/dns_slot.hpp"
#include "kshare/net/resolver.hpp"

namespace kshare::posix {

// Nothing here is copied.
struct DnsOptions {
  const char* hosts_path = "/etc/hosts";         // a file that does not exist is an empty one
  const char* resolv_path = "/etc/resolv.conf";  // without one: a server on 127.0.0.1
  std::string_view servers;  // instead of resolv.conf, at most 3: "192.0.2.53 [2001:db8::53]:5353"
  std::string_view search;   // to go with `servers`: "example.com lab.example.com"
  uint16_t port = 53;        // of servers that do not name one
};

class Dns final : public Resolver {
 public:
  static constexpr int64_t kLookupMs = 8000;      // all of a lookup
  static constexpr int64_t kOtherFamilyMs = 100;  // A is here: how long AAAA may take, and so on
  static constexpr int64_t kTtlMaxMs = 3600000;
  static constexpr int64_t kPartialMs = 5000;   // half an answer is asked again soon
  static constexpr int64_t kUselessMs = 10000;  // and so is one that led nowhere
  static constexpr int64_t kNegativeMs = 3000;
  static constexpr int64_t kStaleMs = 30000;  // before the servers are tried again

  template <uint32_t NAMES, uint32_t NAME_BYTES>
  constexpr explicit Dns(DnsStorage<NAMES, NAME_BYTES>& storage, const DnsOptions& options = {})
      : slots_{storage.slots, NAMES},
        names_(storage.names),
        name_bytes_(NAME_BYTES),
        config_(&storage.config),
        options_(options) {}

  IoResult open(std::string_view name, Instant now, uint16_t& lookup) override {
    const bool absolute = !name.empty() && name.back() == '.';
    name = without_last_dot(name);
    if (!is_dns_name(name)) return failed({Errc::bad_address, 0});
    if (name.size() > name_bytes_) return failed({Errc::too_long, 0});
    DnsSlot* slot = find_dns_slot(slots_, name, absolute);
    const bool fresh = slot != nullptr && now < slot->until;
    const bool held = slot != nullptr && slot->users != 0;
    if (slot == nullptr || (held && !fresh)) slot = take(name, absolute);
    if (slot == nullptr) return failed({Errc::too_many, 0});
    lookup = static_cast<uint16_t>(slot - slots_.data);
    ++slot->users;
    slot->used = now;
    IoResult result{Io::done, 0, {}};
    const int error = find_in_hosts(*slot, now);
    if (error == ENOENT && !fresh)
      result = begin(*slot, now);
    else if (error == ENOENT && slot->count == 0)
      result = failed(slot->failure);
    else if (error != ENOENT && error != 0)
      result = failed({Errc::lookup_failed, static_cast<int16_t>(error)});
    if (result.io == Io::failed) --slot->users;
    return result;
  }

  IoResult advance(uint16_t lookup, Instant now) override {
    DnsSlot& slot = slots_[lookup];
    if (!slot.asking) return {Io::done, 0, {}};
    receive(slot);
    const bool some = slot.has_news();
    if ((slot.missing & ~slot.broken) == 0) {  // this server has nothing more to say
      if (some) return settle(slot, now);
      if (slot.missing == 0) return try_next_candidate(slot, now);
      return try_next_server(slot, now);
    }
    if (some && slot.missing != kBothTypes) slot.due = earlier(slot.due, now + kOtherFamilyMs);
    if (now < slot.due) return {};
    if (some) return settle(slot, now);
    slot.silent = true;
    return try_next_server(slot, now);
  }

  bool address(uint16_t lookup, uint32_t i, Address& out) const override {
    const DnsSlot& slot = slots_[lookup];
    if (i >= slot.count) return false;
    out = slot.addresses[i];
    return true;
  }

  Interest interest(uint16_t lookup) const override {
    const DnsSlot& slot = slots_[lookup];
    Interest interest;
    if (!slot.asking) return interest;
    interest.fd = slot.fd_plus_one - 1;
    interest.read = true;
    interest.generation = slot.generation;
    interest.due = slot.due;
    return interest;
  }

  void close(uint16_t lookup, int32_t winner) override {
    DnsSlot& slot = slots_[lookup];
    KSHARE_ASSERT(slot.users != 0);
    --slot.users;
    if (slot.asking) {
      slot.end();
    } else if (winner >= 0) {
      slot.prefer(static_cast<uint32_t>(winner));
    } else if (slot.count != 0) {
      slot.until = earlier(slot.until, slot.since + kUselessMs);
    }
    if (slot.users == 0) slot.put_winner_first();
  }

 private:
  static constexpr uint8_t kBothTypes = 3;
  static constexpr DnsType kTypes[2] = {DnsType::aaaa, DnsType::a};  // bit 0, bit 1

  static IoResult failed(Status status) { return {Io::failed, 0, status}; }

  DnsSlot* take(std::string_view name, bool absolute) {
    DnsSlot* const slot = take_dns_slot(slots_);
    if (slot == nullptr) return nullptr;
    char* const text = names_ + static_cast<uint32_t>(slot - slots_.data) * name_bytes_;
    slot->name = text;
    slot->name_bytes = static_cast<uint8_t>(copy_text(text, name_bytes_, name));
    slot->absolute = absolute;
    return slot;
  }

  // ---- What is known without asking.
  // 0: in the hosts file; ENOENT: not; else this cannot be told at the moment.
  int find_in_hosts(DnsSlot& slot, Instant now) {
    if (slot.users > 1) return ENOENT;  // another counts on what is here, and it is fresh
    DnsAnswer found;
    HostsReader hosts{slot.text()};
    const auto add = [&](const Address& address) {
      if (found.count < kDnsAddressesMax) found.addresses[found.count++] = address;
    };
    const auto each = [&](std::string_view word, uint32_t index) { hosts.take(word, index, add); };
    const int error = read_dns_file(options_.hosts_path, each);
    if (error == EMFILE || error == ENFILE || error == ENOMEM) return error;
    if (found.count == 0) return ENOENT;
    slot.forget_addresses();
    slot.adopt(found);
    slot.settle(now, now);  // the file is looked at every time
    return 0;
  }
  // 0, or the errno that leaves nobody to ask.
  int read_config() {
    const uint64_t stamp = options_.servers.empty() ? dns_file_stamp(options_.resolv_path) : 1;
    if (stamp == stamp_ && config_->server_count != 0) return 0;
    stamp_ = stamp;
    DnsConfig config;
    ResolvReader reader{config, options_.port};
    if (options_.servers.empty()) {
      const auto take = [&](std::string_view word, uint32_t i) { reader.take(word, i); };
      const int error = read_dns_file(options_.resolv_path, take);
      if (error != 0 && error != ENOENT) {
        stamp_ = ~stamp;  // there is one: read it as soon as that is possible
        return config_->server_count != 0 ? 0 : error;
      }
    } else {
      const auto add = [&](std::string_view word, uint32_t) { reader.add_server(word); };
      read_dns_text(options_.servers, add);
      reader.take("search", 0);
      const auto add_domain = [&](std::string_view word, uint32_t) { reader.take(word, 1); };
      read_dns_text(options_.search, add_domain);
    }
    if (config.server_count == 0) reader.add_server("127.0.0.1");
    *config_ = config;
    return 0;
  }

  // ---- The course of a lookup: candidates (the name, with and without a domain of the search
  // list), for each the servers in turn, several rounds of them while some are silent.
  IoResult begin(DnsSlot& slot, Instant now) {
    const int error = read_config();
    if (error != 0) return failed({Errc::lookup_failed, static_cast<int16_t>(error)});
    slot.begin(now);
    slot.first_server = config_->rotate ? turn_++ : server_;
    slot.begin_candidate();
    return find_candidate(slot) ? ask(slot, now) : deny(slot, now);
  }
  IoResult try_next_server(DnsSlot& slot, Instant now) {
    return move_on(slot) ? ask(slot, now) : give_up(slot, now);
  }
  IoResult try_next_candidate(DnsSlot& slot, Instant now) {
    if (next_candidate(slot)) return ask(slot, now);
    return slot.uncertain ? give_up(slot, now) : deny(slot, now);
  }
  // Puts the question to the server whose turn it is, or the next one that takes it.
  IoResult ask(DnsSlot& slot, Instant now) {
    for (;;) {
      if (now - slot.since >= kLookupMs) return give_up(slot, now);
      slot.error = send(slot);
      if (slot.error == 0) {
        slot.due =
            earlier(now + (int64_t{config_->timeout_ms} << slot.round), slot.since + kLookupMs);
        return {};
      }
      if (!move_on(slot)) return give_up(slot, now);
    }
  }
  // A server has failed: false if nobody is left to ask.
  bool move_on(DnsSlot& slot) {
    if (next_server(slot)) return true;
    slot.uncertain = true;
    return !slot.silent && next_candidate(slot);  // where all are silent, they stay so
  }
  bool next_server(DnsSlot& slot) {
    slot.broken = 0;
    if (config_->server_count > 1) slot.shut();  // else late answers may still come
    if (++slot.tries % config_->server_count != 0) return true;
    const bool again = slot.silent && !slot.stale && slot.round + 1 < config_->attempts;
    if (again) {
      slot.silent = false;
      ++slot.round;
    }
    return again;
  }
  bool next_candidate(DnsSlot& slot) {
    ++slot.candidate;
    slot.begin_candidate();
    return find_candidate(slot);
  }
  // Passes over those that would be too long; false behind the last.
  bool find_candidate(DnsSlot& slot) {
    char text[kDnsNameMax];
    for (; slot.candidate <= config_->domain_count(); ++slot.candidate) {
      if (!candidate(slot, text).empty()) return true;
    }
    return false;
  }
  // The name to ask for, empty if there is no such candidate.
  std::string_view candidate(const DnsSlot& slot, char (&out)[kDnsNameMax]) const {
    const std::string_view name = slot.text();
    uint32_t dots = 0;
    for (char c : name) dots += c == '.' ? 1 : 0;
    const uint32_t domains = slot.absolute ? 0 : config_->domain_count();
    const bool plain_first = slot.absolute || dots >= config_->ndots;
    const uint32_t plain = plain_first ? 0 : domains;
    if (slot.candidate > domains) return {};
    uint32_t size = copy_text(out, kDnsNameMax, name);
    if (slot.candidate == plain) return {out, size};
    const std::string_view domain = config_->domain(slot.candidate - (plain_first ? 1u : 0u));
    if (size + 1 + domain.size() > kDnsNameMax) return {};
    out[size++] = '.';
    size += copy_text(out + size, kDnsNameMax - size, domain);
    return {out, size};
  }

  // ---- How it ends.
  IoResult settle(DnsSlot& slot, Instant now) {
    int64_t ms = int64_t{slot.ttl_s} * 1000;
    if (ms < 1000) ms = 1000;
    const int64_t most = slot.missing == 0 ? kTtlMaxMs : kPartialMs;
    server_ = static_cast<uint8_t>((slot.first_server + slot.tries) % config_->server_count);
    slot.settle(now, now + (ms < most ? ms : most));
    drop_other_dns_slots(slots_, slot);
    return {Io::done, 0, {}};
  }
  // No server has been of use.
  IoResult give_up(DnsSlot& slot, Instant now) {
    if (slot.stale) {
      slot.settle(now, now + kStaleMs);
      return {Io::done, 0, {}};
    }
    const int16_t error = slot.silent ? int16_t{0} : slot.error;
    slot.end();
    return failed({Errc::lookup_failed, error});
  }
  IoResult deny(DnsSlot& slot, Instant now) {
    slot.forget_addresses();
    slot.failure = {Errc::name_not_found, 0};
    slot.settle(now, now + kNegativeMs);
    return failed(slot.failure);
  }

  // ---- One server, one socket.
  uint32_t query(const DnsSlot& slot, uint32_t type, uint8_t (&out)[kDnsQueryMax]) const {
    char text[kDnsNameMax];
    const std::string_view name = candidate(slot, text);
    if (name.empty()) return 0;  // resolv.conf has changed meanwhile
    return encode_dns_query(name, kTypes[type], slot.ids[type], out);
  }
  // 0 or an errno.
  int16_t send(DnsSlot& slot) {
    if (slot.fd_plus_one == 0 && !connect(slot)) {
      const auto error = static_cast<int16_t>(errno);
      slot.shut();
      return error;
    }
    for (uint32_t type = 0; type < 2; ++type) {
      if ((slot.missing >> type & 1) == 0) continue;
      uint8_t bytes[kDnsQueryMax];
      const uint32_t size = query(slot, type, bytes);
      if (size == 0) return EINVAL;
      ssize_t count = 0;
      do {
        count = ::send(slot.fd_plus_one - 1, bytes, size, MSG_NOSIGNAL);
      } while (count < 0 && errno == EINTR);
      if (count < 0) return static_cast<int16_t>(errno);
    }
    return 0;
  }
  // connect() lets only that server's packets in, and makes the kernel choose a random port.
  bool connect(DnsSlot& slot) {
    const uint32_t turn = uint32_t{slot.first_server} + slot.tries;
    const DnsServer& server = config_->servers[turn % config_->server_count];
    SocketAddress to;
    const socklen_t size = socket_address(server.address, server.port, to);
    const ssize_t drawn = ::getrandom(slot.ids, sizeof slot.ids, GRND_NONBLOCK);
    if (drawn != static_cast<ssize_t>(sizeof slot.ids)) return false;  // early at boot: EAGAIN
    const int made = ::socket(to.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return false;
    slot.fd_plus_one = made + 1;
    ++slot.generation;
    return ::connect(made, &to.any, size) == 0;
  }
  void receive(DnsSlot& slot) {
    for (uint32_t packets = 0; packets < 16 && slot.fd_plus_one != 0; ++packets) {
      uint8_t packet[kDnsAnswerMax];
      const ssize_t count =
          ::recv(slot.fd_plus_one - 1, packet, sizeof packet, MSG_TRUNC | MSG_DONTWAIT);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        slot.error = static_cast<int16_t>(errno);  // nobody is there
        slot.broken = slot.missing;
        return;
      }
      const bool cut = static_cast<size_t>(count) > sizeof packet;
      if (cut) packet[2] |= 2;  // TC
      take_answer(slot, {packet, cut ? kDnsAnswerMax : static_cast<uint32_t>(count)});
    }
  }
  void take_answer(DnsSlot& slot, Bytes packet) {
    for (uint32_t type = 0; type < 2; ++type) {
      const auto bit = static_cast<uint8_t>(1u << type);
      uint8_t bytes[kDnsQueryMax];
      const uint32_t size = query(slot, type, bytes);
      if ((slot.missing & bit) == 0 || size == 0) continue;
      const DnsAnswer answer = read_dns_answer(packet, {bytes, size});
      if (answer.outcome == DnsOutcome::ignored) continue;
      if (answer.outcome == DnsOutcome::failed)
        slot.broken |= bit;
      else
        slot.missing = static_cast<uint8_t>(slot.missing & ~bit);
      if (answer.outcome == DnsOutcome::addresses) slot.adopt(answer);
    }
  }

  Span<DnsSlot> slots_;
  char* names_;
  uint32_t name_bytes_;
  DnsConfig* config_;
  DnsOptions options_;
  uint64_t stamp_ = 0;  // of the resolv.conf that config_ is made of
  uint8_t server_ = 0;  // the one that answered last: asked first
  uint8_t turn_ = 0;    // options rotate
};

}  // namespace kshare::posix

#endif  // KSHARE_NET_DNS_HPP

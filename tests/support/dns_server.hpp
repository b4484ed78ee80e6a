// SPDX-License-Identifier: Apache-2.0
// What:        a small DNS server of one UDP socket on loopback, which answers, holds back or lies
//              as a test says; and text for addresses.
// Flow:        net/dns.hpp -> socket -> serve() -> socket. No thread: serve() answers what came.
// Memory:      every question asked is kept in `asked`.
#ifndef KSHARE_TESTS_SUPPORT_DNS_SERVER_HPP
#define KSHARE_TESTS_SUPPORT_DNS_SERVER_HPP

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kshare/net/resolver.hpp"

namespace dnstest {

inline constexpr int kA = 1;
inline constexpr int kCname = 5;
inline constexpr int kAaaa = 28;

using Packet = std::string;

inline Packet be16(int value) {
  return {static_cast<char>(value >> 8 & 0xFF), static_cast<char>(value & 0xFF)};
}

// A name as it stands in a packet, without compression.
inline Packet wire_name(const std::string& name) {
  Packet out;
  std::string label;
  for (char c : name + ".") {
    if (c != '.') {
      label += c;
      continue;
    }
    if (!label.empty()) out += static_cast<char>(label.size() & 0xFF) + label;
    label.clear();
  }
  return out + std::string(1, '\0');
}

inline Packet wire_address(const std::string& text) {
  char octets[16];
  if (::inet_pton(AF_INET, text.c_str(), octets) == 1) return {octets, 4};
  return ::inet_pton(AF_INET6, text.c_str(), octets) == 1 ? Packet{octets, 16} : Packet{};
}

inline std::string text_of(const kshare::posix::Address& address) {
  char text[64];
  ::inet_ntop(address.v6 ? AF_INET6 : AF_INET, address.octets, text, sizeof text);
  return text;
}

// One resource record; `owner` is wire form or a pointer.
inline Packet record(const Packet& owner, int type, uint32_t ttl_s, const Packet& data) {
  return owner + be16(type) + be16(1) + be16(static_cast<int>(ttl_s >> 16)) +
         be16(static_cast<int>(ttl_s & 0xFFFF)) + be16(static_cast<int>(data.size() & 0xFFFF)) +
         data;
}

struct Question {
  std::string name;  // as it was written
  int type = 0;
  Packet packet;  // all of it

  Packet section() const { return packet.substr(12); }
};

inline Question read_question(const Packet& packet) {
  Question q;
  q.packet = packet;
  size_t at = 12;
  while (at < packet.size() && packet[at] != 0) {
    const auto size = static_cast<size_t>(packet[at]);
    q.name += (q.name.empty() ? "" : ".") + packet.substr(at + 1, size);
    at += size + 1;
  }
  q.type = at + 2 < packet.size() ? static_cast<uint8_t>(packet[at + 2]) : 0;
  return q;
}

// Header and question of an answer, and `count` records behind them.
inline Packet answer(const Question& q, int rcode, int count, const Packet& records,
                     bool truncated = false) {
  const int flags = 0x8180 | rcode | (truncated ? 0x200 : 0);
  return q.packet.substr(0, 2) + be16(flags) + be16(1) + be16(count) + be16(0) + be16(0) +
         q.section() + records;
}

class Server {
 public:
  struct Entry {
    std::vector<std::string> addresses;  // of both families
    std::string alias;                   // the answer has this CNAME in front
    uint32_t ttl_s = 60;
    int rcode = 0;
  };

  explicit Server(uint16_t port = 0) {
    fd_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in here = {};
    here.sin_family = AF_INET;
    here.sin_port = htons(port);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    void* const any = &here;
    ok_ = ::bind(fd_, static_cast<sockaddr*>(any), size) == 0 &&
          ::getsockname(fd_, static_cast<sockaddr*>(any), &size) == 0;
    port_ = ntohs(here.sin_port);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { stop(); }

  bool ok() const { return ok_; }
  // As resolv.conf and DnsOptions::servers name it.
  std::string name() const { return "[127.0.0.1]:" + std::to_string(port_); }
  // From now on packets to it are refused by the kernel.
  void stop() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  std::map<std::string, Entry> names;  // others: NXDOMAIN
  bool silent = false;                 // drops what it is asked
  int silent_type = 0;                 // drops questions of this type
  int rcode = 0;                       // if not 0: the answer to everything
  bool truncate = false;               // says TC and leaves out what is above 2 records
  bool hold = false;                   // keeps answers back until release()
  std::function<std::vector<Packet>(const Question&)> lie;  // in place of the answer
  std::vector<Question> asked;

  size_t asked_for(const std::string& name) const {
    size_t count = 0;
    for (const Question& q : asked) count += q.name == name ? 1u : 0u;
    return count;
  }

  // Answers what has come; true if something had.
  bool serve() {
    bool some = false;
    for (;;) {
      char buffer[600];
      sockaddr_in from = {};
      socklen_t size = sizeof from;
      void* const any = &from;
      const ssize_t count =
          ::recvfrom(fd_, buffer, sizeof buffer, 0, static_cast<sockaddr*>(any), &size);
      if (count < 0) return some;
      some = true;
      const Question q = read_question({buffer, static_cast<size_t>(count)});
      asked.push_back(q);
      if (silent || q.type == silent_type) continue;
      const std::vector<Packet> packets = lie ? lie(q) : std::vector<Packet>{honest(q)};
      for (const Packet& packet : packets) {
        if (hold)
          held_.push_back({packet, from});
        else
          send(packet, from);
      }
    }
  }
  void release() {
    for (const Held& one : held_) send(one.packet, one.to);
    held_.clear();
  }

  Packet honest(const Question& q) const {
    if (rcode != 0) return answer(q, rcode, 0, {});
    const auto found = names.find(q.name);
    if (found == names.end()) return answer(q, 3, 0, {});
    const Entry& entry = found->second;
    Packet owner = be16(0xC00C);
    Packet records;
    int count = 0;
    if (!entry.alias.empty()) {
      records += record(owner, kCname, entry.ttl_s, wire_name(entry.alias));
      owner = wire_name(entry.alias);
      ++count;
    }
    for (const std::string& text : entry.addresses) {
      const Packet octets = wire_address(text);
      if (octets.size() != (q.type == kA ? 4u : 16u)) continue;
      if (truncate && count == 2) break;
      records += record(owner, q.type, entry.ttl_s, octets);
      ++count;
    }
    return answer(q, entry.rcode, count, records, truncate);
  }

 private:
  struct Held {
    Packet packet;
    sockaddr_in to;
  };

  void send(const Packet& packet, sockaddr_in to) {
    void* const any = &to;
    const ssize_t count =
        ::sendto(fd_, packet.data(), packet.size(), 0, static_cast<sockaddr*>(any), sizeof to);
    static_cast<void>(count);
  }

  int fd_ = -1;
  uint16_t port_ = 0;
  bool ok_ = false;
  std::vector<Held> held_;
};

}  // namespace dnstest

#endif  // KSHARE_TESTS_SUPPORT_DNS_SERVER_HPP

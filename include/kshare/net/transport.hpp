// SPDX-License-Identifier: Apache-2.0
// What:        the two interfaces between kshare and a network: Transport, one byte stream to one
//              broker, and TransportPool, as many of them as Limits::links_max, with the clock's
//              and the entropy's place beside.
// Flow:        consumer.hpp <-> Transport <-> a socket, a TLS library, a serial line, a test's
//              pipe.
// Memory:      the implementer's. TLS, byte tracing and fault injection are decorators over another
//              Transport.
// Valid until: the pool must outlive the consumer.
// Errors:      Status with Errc::connect_failed, disconnected, timed_out, bad_address or
//              authentication_failed; kshare closes the transport, reports the failure and opens it
//              again after a back-off.
//
// The contract: nothing here blocks, nothing calls back, one thread. kshare calls
//   open      on a closed transport; begins to connect. ok: call advance() until it is ready.
//   advance   while connecting (name resolution, TCP, TLS handshake), when interest() is met and at
//             its `due`. done: ready; pending: later; else failed.
//   read      as long as bytes come. pending means "nothing now" and nothing else; closed means the
//             peer's orderly end.
//   write     may take fewer bytes than offered. What it took is its own; the rest is offered
//             again, maybe elsewhere.
//   close     at any time, twice too; drops what has not left.
//   interest  which descriptor to wait for, and for what. ready_now: bytes wait inside (a TLS
//             record already decrypted), so the loop must not sleep.
#ifndef KSHARE_NET_TRANSPORT_HPP
#define KSHARE_NET_TRANSPORT_HPP

#include <cstdint>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"

namespace kshare {

enum class Io : uint8_t {
  done,     // advance: ready. read, write: `count` bytes moved
  pending,  // nothing now, ask again when interest() is met
  closed,   // read only: the peer has ended the stream
  failed,   // the stream is broken; `status` says why
};

struct IoResult {
  Io io = Io::pending;
  uint32_t count = 0;
  Status status{};
};

struct Endpoint {
  std::string_view host;  // as the broker or the bootstrap list wrote it; gone after open() returns
  uint16_t port = 0;
};

// What an event loop needs to know. A descriptor number can be used again by the OS for the next
// connection: the generation tells the two apart. fd -1: nothing to wait for.
struct Interest {
  int fd = -1;
  bool read = false;
  bool write = false;
  bool ready_now = false;
  uint32_t generation = 0;
  Instant due = kNever;  // while connecting: advance() wants to be called by then in any case
};

class Transport {
 public:
  virtual Status open(const Endpoint& endpoint, Instant now) = 0;
  virtual IoResult advance(Instant now) = 0;
  virtual IoResult read(MutableBytes into) = 0;
  virtual IoResult write(Bytes from) = 0;
  virtual void close() = 0;
  virtual Interest interest() const = 0;

 protected:
  ~Transport() = default;  // never destroyed through the interface: no operator delete is wanted
};

class TransportPool {
 public:
  // At least the consumer's Limits::links_max.
  virtual uint32_t size() const = 0;
  // The same object for the same index, always.
  virtual Transport& transport(uint32_t index) = 0;
  // Fills all of it with the OS's random octets, or answers false.
  virtual bool entropy(MutableBytes into) = 0;

 protected:
  ~TransportPool() = default;
};

}  // namespace kshare

#endif  // KSHARE_NET_TRANSPORT_HPP

// SPDX-License-Identifier: Apache-2.0
// What:        kshare: a Kafka share-group consumer (KIP-932) with a fixed memory budget. This is
//              the portable part; add kshare/net/posix.hpp for sockets.
//
//   socket -> net/ -> core/link -> wire/ -> message/ -> record/ (codec/) -> your code
//                                                                              |
//   socket <- net/ <- core/link <- wire/ <- message/ <------- ack/ <-----------'
//
//   base/     no Kafka here: bytes, status, time
//   wire/     bytes <-> integers, CRC-32C
//   message/  one file per API: its request, and a decoder that takes the answer in pieces
//   record/   batches, records, the store that keeps their bytes
//   ack/      what brokers have locked for us, and what we have to say about it
//   core/     the state machines, sans I/O; every call takes the time
//   net/      the only folder that knows an operating system
#ifndef KSHARE_KSHARE_HPP
#define KSHARE_KSHARE_HPP

#include "kshare/consumer.hpp"
#include "kshare/core/describe.hpp"
#include "kshare/core/properties.hpp"
#include "kshare/core/trace_format.hpp"
#include "kshare/version.hpp"

#endif  // KSHARE_KSHARE_HPP

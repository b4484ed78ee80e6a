// SPDX-License-Identifier: Apache-2.0
//
// Kafka's own share consumer behind kshare_cat's command line, as far as the live tests need it:
// the yardstick of the benchmark, a member of mixed groups, and a stand-in that tests the tests.
//
//   java JavaShare -b HOST:PORT -g GROUP -t TOPIC[,...] [-c COUNT] [-e [-i IDLE_MS]] [-f FORMAT]
//                  [-A accept|release|reject] [-m implicit|explicit] [-X NAME=VALUE]... [-J]

import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class JavaShare {
    private String brokers;
    private String group;
    private List<String> topics;
    private long count = Long.MAX_VALUE;
    private boolean end;
    private long idleMs = 2000;
    private String format = "%s\\n";
    private String action = "accept";
    private Boolean explicit;
    private boolean report;
    private final Properties extra = new Properties();

    private long records;
    private long bytes;
    private long redelivered;
    private long acksOk;
    private long acksFailed;
    private long firstMs = -1;
    private long firstCpuMs = -1;

    public static void main(String[] args) throws Exception {
        JavaShare run = new JavaShare();
        run.parse(args);
        run.consume();
    }

    private void parse(String[] args) {
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "-b": brokers = args[++i]; break;
                case "-g": group = args[++i]; break;
                case "-t": topics = List.of(args[++i].split(",")); break;
                case "-c": count = Long.parseLong(args[++i]); break;
                case "-e": end = true; break;
                case "-i": idleMs = Long.parseLong(args[++i]); break;
                case "-f": format = args[++i]; break;
                case "-A": action = args[++i]; break;
                case "-m": explicit = args[++i].equals("explicit"); break;
                case "-X": {
                    String[] pair = args[++i].split("=", 2);
                    extra.put(pair[0], pair[1]);
                    break;
                }
                case "-J": report = true; break;
                case "-v": break;
                default: throw new IllegalArgumentException(args[i]);
            }
        }
        if (explicit == null) {
            explicit = !action.equals("accept") || count != Long.MAX_VALUE;
        }
    }

    private KafkaShareConsumer<byte[], byte[]> consumer() {
        Properties p = new Properties();
        p.put("bootstrap.servers", brokers);
        p.put("group.id", group);
        p.put("client.id", "java-share");
        p.put("share.acknowledgement.mode", explicit ? "explicit" : "implicit");
        p.putAll(extra);
        ByteArrayDeserializer raw = new ByteArrayDeserializer();
        KafkaShareConsumer<byte[], byte[]> consumer = new KafkaShareConsumer<>(p, raw, raw);
        consumer.setAcknowledgementCommitCallback((offsets, e) -> {
            long n = offsets.values().stream().mapToLong(java.util.Set::size).sum();
            acksOk += e == null ? n : 0;
            acksFailed += e == null ? 0 : n;
        });
        return consumer;
    }

    private void consume() throws IOException {
        long start = System.nanoTime();
        OutputStream out =
            new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16);
        KafkaShareConsumer<byte[], byte[]> consumer = consumer();
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join(5000);
            } catch (InterruptedException e) {
                // ends anyway
            }
        }));
        try {
            consumer.subscribe(topics);
            loop(consumer, out, start);
            consumer.commitSync(Duration.ofSeconds(10));
        } catch (WakeupException e) {
            // asked to end
        }
        consumer.close(Duration.ofSeconds(10));
        out.flush();
        if (report) {
            System.err.println(summary((System.nanoTime() - start) / 1e9));
        }
        Runtime.getRuntime().halt(0);
    }

    private void loop(KafkaShareConsumer<byte[], byte[]> consumer, OutputStream out, long start)
            throws IOException {
        AcknowledgeType type = AcknowledgeType.valueOf(action.toUpperCase(java.util.Locale.ROOT));
        long last = 0;
        while (records < count) {
            var batch = consumer.poll(Duration.ofMillis(100));
            for (ConsumerRecord<byte[], byte[]> r : batch) {
                if (records == count) {
                    consumer.acknowledge(r, AcknowledgeType.RELEASE);
                    continue;
                }
                if (records++ == 0) {
                    firstMs = (System.nanoTime() - start) / 1_000_000;
                    firstCpuMs = cpuMs();
                }
                bytes += r.value() == null ? 0 : r.value().length;
                redelivered += r.deliveryCount().orElse((short) 1) > 1 ? 1 : 0;
                print(r, out);
                if (explicit) {
                    consumer.acknowledge(r, type);
                }
            }
            out.flush();
            long now = System.nanoTime();
            if (!batch.isEmpty() || last == 0 && records == 0 && now - start < 15_000_000_000L) {
                last = batch.isEmpty() ? 0 : now;
            } else if (end && (now - last) / 1_000_000 > idleMs) {
                return;
            }
        }
    }

    private void print(ConsumerRecord<byte[], byte[]> r, OutputStream out) throws IOException {
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c == '\\' && i + 1 < format.length()) {
                char e = format.charAt(++i);
                out.write(e == 'n' ? '\n' : e == 't' ? '\t' : e);
            } else if (c == '%' && i + 1 < format.length()) {
                out.write(token(format.charAt(++i), r));
            } else {
                out.write(c);
            }
        }
    }

    private static byte[] token(char token, ConsumerRecord<byte[], byte[]> r) {
        switch (token) {
            case 't': return ascii(r.topic());
            case 'p': return ascii(Integer.toString(r.partition()));
            case 'o': return ascii(Long.toString(r.offset()));
            case 'k': return r.key() == null ? new byte[0] : r.key();
            case 's': return r.value() == null ? new byte[0] : r.value();
            case 'K': return ascii(Integer.toString(r.key() == null ? -1 : r.key().length));
            case 'S': return ascii(Integer.toString(r.value() == null ? -1 : r.value().length));
            case 'T': return ascii(Long.toString(r.timestamp()));
            case 'd': return ascii(Short.toString(r.deliveryCount().orElse((short) 0)));
            case 'h': return headers(r);
            default: return new byte[] {'%', (byte) token};
        }
    }

    private static byte[] headers(ConsumerRecord<byte[], byte[]> r) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (Header h : r.headers()) {
            all.writeBytes(ascii((all.size() > 0 ? "," : "") + h.key() + "="));
            all.writeBytes(h.value() == null ? ascii("NULL") : h.value());
        }
        return all.toByteArray();
    }

    private static byte[] ascii(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    private static long cpuMs() {
        var os = (com.sun.management.OperatingSystemMXBean)
            ManagementFactory.getOperatingSystemMXBean();
        return os.getProcessCpuTime() / 1_000_000;
    }

    private String summary(double seconds) {
        StringBuilder json = new StringBuilder("{");
        Map<String, Object> fields = new java.util.LinkedHashMap<>();
        fields.put("records", records);
        fields.put("bytes", bytes);
        fields.put("redelivered", redelivered);
        fields.put("acks_ok", acksOk);
        fields.put("acks_failed", acksFailed);
        fields.put("acks_unknown", 0);
        fields.put("released", action.equals("release") ? records : 0);
        fields.put("rejected", action.equals("reject") ? records : 0);
        for (String unknown : List.of("gaps", "reread", "reconnects", "bytes_received")) {
            fields.put(unknown, 0);  // the Java client does not count these
        }
        fields.put("seconds", String.format(java.util.Locale.ROOT, "%.3f", seconds));
        fields.put("first_record_ms", firstMs);
        fields.put("first_record_cpu_ms", firstCpuMs);
        fields.put("cpu_ms", cpuMs());
        fields.forEach((k, v) -> json.append(json.length() > 1 ? ", " : "")
            .append('"').append(k).append("\": ").append(v));
        return json.append('}').toString();
    }
}

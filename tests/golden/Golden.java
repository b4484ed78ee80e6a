// SPDX-License-Identifier: Apache-2.0
// Writes vectors.hpp: requests and responses of every API and version that kshare speaks, as the
// reference client's own classes serialise them, with the values that were put in. Run by hand,
// when an API or a version is added: tests/golden/make. The output is committed;
// tests/unit/test_golden_*.cpp read it.
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.RawTaggedField;

public class Golden {
    private static final int COLUMNS = 96;
    private final StringBuilder head = new StringBuilder();
    private final StringBuilder texts = new StringBuilder();
    private final StringBuilder out = new StringBuilder();
    private final Map<String, String> textNames = new HashMap<>();
    private final Set<String> names = new HashSet<>();
    private int count = 0;

    public static void main(String[] arguments) throws IOException {
        Golden golden = new Golden();
        golden.head(arguments[1]);
        new Requests(golden).all();
        new Responses(golden).all();
        golden.out.append("};\n\n}  // namespace golden\n\n#endif  // KSHARE_TESTS_VECTORS_HPP\n");
        Files.writeString(Path.of(arguments[0]), golden.head.toString() + golden.texts
            + "\ninline constexpr Vector kVectors[] = {\n" + golden.out);
        System.out.println(golden.count + " vectors");
    }

    private void head(String release) {
        head.append("// SPDX-License-Identifier: Apache-2.0\n");
        head.append("// Made by tests/golden/make from kafka-clients " + release);
        head.append("; not written by hand.\n");
        head.append("#ifndef KSHARE_TESTS_VECTORS_HPP\n#define KSHARE_TESTS_VECTORS_HPP\n\n");
        head.append("#include <cstdint>\n\nnamespace golden {\n\n");
        head.append("enum class What : uint8_t { request, response, request_header,"
            + " response_header };\n\n");
        head.append("struct Vector {\n  const char* name;\n  What what;\n  int16_t key;\n");
        head.append("  int16_t version;\n  const char* hex;\n");
        head.append("  const char* lines;  // what was put in, a line each\n};\n\n");
    }

    // ---- One vector.

    void request(String name, int version, ApiMessage message) {
        add(name, "request", message.apiKey(), version, message, Lines.ofRequest(message));
    }

    // As it is, and with unknown tagged fields in every structure, where the version has such.
    void response(String name, int version, ApiMessage message) {
        List<String> lines = large(name, version, message);
        if (message.apiKey() == ApiKeys.API_VERSIONS.id && version < 3) return;
        addTags(message, 300);
        add(name + ", tags", "response", message.apiKey(), version, message, lines);
    }

    // Only as it is.
    List<String> large(String name, int version, ApiMessage message) {
        List<String> lines = Lines.ofResponse(message, version);
        add(name, "response", message.apiKey(), version, message, lines);
        return lines;
    }

    void header(String name, String what, int key, int version, ApiMessage header, int form,
                List<String> lines, boolean tags) {
        if (tags) addTags(header, 300);
        emit(name, what, key, version, bytes(header, form), lines);
    }

    private void add(String name, String what, int key, int version, ApiMessage message,
                     List<String> lines) {
        emit(name, what, key, version, bytes(message, version), lines);
    }

    private static byte[] bytes(Message message, int version) {
        return MessageUtil.byteBufferToArray(
            MessageUtil.toByteBufferAccessor(message, (short) version).buffer());
    }

    // Three tagged fields that nobody knows, in this structure and in all below: an empty one, one
    // with a tag of two octets, one with the largest tag there is. The outermost has more in them.
    static void addTags(Object object, int size) {
        if (object instanceof Collection) {
            for (Object element : (Collection<?>) object) addTags(element, size);
            return;
        }
        if (!(object instanceof Message)) return;
        try {
            for (Field field : object.getClass().getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers())) continue;
                field.setAccessible(true);
                if (field.getName().equals("_unknownTaggedFields")) continue;
                addTags(field.get(object), 3);
            }
        } catch (IllegalAccessException error) {
            throw new IllegalStateException(error);
        }
        List<RawTaggedField> tags = ((Message) object).unknownTaggedFields();
        tags.add(new RawTaggedField(90, new byte[0]));
        tags.add(new RawTaggedField(200, filled(size)));
        tags.add(new RawTaggedField(Integer.MAX_VALUE - 1, filled(1)));
    }

    private static byte[] filled(int size) {
        byte[] bytes = new byte[size];
        java.util.Arrays.fill(bytes, (byte) 0xFF);
        return bytes;
    }

    // ---- As C++.

    private void emit(String name, String what, int key, int version, byte[] bytes,
                      List<String> lines) {
        String whole = ApiKeys.forId(key).name + " " + version + ": " + name;
        if (!names.add(what + whole)) throw new IllegalStateException("twice: " + whole);
        ++count;
        out.append("    {").append(literal(whole.getBytes(StandardCharsets.UTF_8))).append(",\n");
        out.append("     What::" + what + ", " + key + ", " + version + ",\n");
        out.append(once(hex(bytes))).append(",\n").append(once(text(lines))).append("},\n");
    }

    // Versions of one form have the same octets and lines: a long text stands there once, by name.
    private String once(String text) {
        if (text.length() < 300) return text;
        String name = textNames.get(text);
        if (name == null) {
            name = "kText" + (textNames.size() + 1);
            textNames.put(text, name);
            texts.append("inline constexpr char " + name + "[] =\n" + text + ";\n");
        }
        return "     " + name;
    }

    private static String hex(byte[] bytes) {
        if (bytes.length == 0) return "     \"\"";
        StringBuilder text = new StringBuilder();
        for (int at = 0; at < bytes.length; at += (COLUMNS - 10) / 2) {
            if (at != 0) text.append('\n');
            text.append("     \"");
            int end = Math.min(bytes.length, at + (COLUMNS - 10) / 2);
            for (int i = at; i < end; i++) text.append(String.format("%02x", bytes[i]));
            text.append('"');
        }
        return text.toString();
    }

    private static String text(List<String> lines) {
        if (lines.isEmpty()) return "     \"\"";
        StringBuilder text = new StringBuilder();
        for (String line : lines) {
            if (text.length() != 0) text.append('\n');
            text.append("     ").append(literal((line + "\n").getBytes(StandardCharsets.UTF_8)));
        }
        return text.toString();
    }

    // One or several literals in a row; octets that are not plain ASCII in octal.
    private static String literal(byte[] octets) {
        StringBuilder text = new StringBuilder("\"");
        int column = 0;
        for (byte octet : octets) {
            String one = octet == '\n' ? "\\n"
                : octet == '"' || octet == '\\' ? "\\" + (char) octet
                : octet >= ' ' && octet < 127 ? String.valueOf((char) octet)
                : String.format("\\%03o", octet & 0xFF);
            if (column + one.length() > COLUMNS - 10) {
                text.append("\"\n     \"");
                column = 0;
            }
            text.append(one);
            column += one.length();
        }
        return text.append('"').toString();
    }
}

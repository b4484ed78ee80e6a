// SPDX-License-Identifier: Apache-2.0
//
// One broker and controller in one JVM: formats its storage if there is none yet, then runs the
// server. It ends when its standard input closes, so it never outlives the process that started it.
//
//   java Node CONFIG [FORMAT_ARGUMENT...]

import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.security.auth.AuthenticationContext;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder;

public final class Node {
    /** Everybody has the name of the listener that they came in by, so that ACLs can tell them. */
    public static final class ByListener extends DefaultKafkaPrincipalBuilder {
        public ByListener() {
            super(null, null);
        }

        @Override
        public KafkaPrincipal build(AuthenticationContext context) {
            return new KafkaPrincipal(KafkaPrincipal.USER_TYPE, context.listenerName());
        }
    }

    public static void main(String[] args) throws Exception {
        List<String> format = new ArrayList<>(List.of("format", "--config", args[0],
            "--ignore-formatted"));
        format.addAll(List.of(args).subList(1, args.length));
        int code = kafka.tools.StorageTool.execute(format.toArray(new String[0]), System.err);
        if (code != 0) {
            System.exit(code);
        }
        Thread watch = new Thread(Node::exitWithParent, "exit-with-parent");
        watch.setDaemon(true);
        watch.start();
        kafka.Kafka.main(new String[] {args[0]});
    }

    private static void exitWithParent() {
        try {
            while (System.in.read() >= 0) {
            }
        } catch (java.io.IOException e) {
            // as good as the end of the stream
        }
        Runtime.getRuntime().halt(0);
    }
}

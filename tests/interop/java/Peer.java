import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * A TLS peer written with Java's JSSE. Reports go to standard error, one a line.
 *
 * <pre>
 * java Peer serve   chain=c.pem key=k.pem algorithm=EC [trust=root.pem] [protocols=a,b] [suites=...] [version=TLSv1.2]  "port n" first
 * java Peer connect port=n trust=root.pem name=localhost [chain= key= algorithm=] [protocols=] [suites=]
 * </pre>
 *
 * A server sends back what it receives. A client sends what comes in on its standard input, and writes what it receives
 * to its standard output. `update=18` renews keys after 2^18 bytes instead of 2^37. `times=3` makes three connections,
 * one after another: a client then says each time what came in, and resumes its session.
 */
public class Peer {
    private static final char[] PASSWORD = "none".toCharArray();
    private static final Map<String, String> options = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        for (String argument : List.of(arguments).subList(1, arguments.length)) {
            String[] parts = argument.split("=", 2);
            options.put(parts[0], parts[1]);
        }
        if (options.containsKey("update")) {
            Security.setProperty("jdk.tls.keyLimits", "AES/GCM/NoPadding KeyUpdate 2^" + options.get("update"));
        }
        try {
            if (arguments[0].equals("serve")) {
                serve(context());
            } else {
                connect(context());
            }
        } catch (Exception error) {
            System.err.println("error " + error);
            System.exit(1);
        }
        System.exit(0);
    }

    private static SSLContext context() throws Exception {
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        KeyManagerFactory ours = KeyManagerFactory.getInstance("PKIX");
        KeyStore identity = empty();
        if (options.containsKey("chain")) {
            Certificate[] chain = certificates
                .generateCertificates(new ByteArrayInputStream(read("chain")))
                .toArray(new Certificate[0]);
            identity.setKeyEntry("ours", key(), PASSWORD, chain);
        }
        ours.init(identity, PASSWORD);
        TrustManagerFactory theirs = TrustManagerFactory.getInstance("PKIX");
        if (options.containsKey("trust")) {
            KeyStore trusted = empty();
            trusted.setCertificateEntry(
                "root", certificates.generateCertificate(new ByteArrayInputStream(read("trust"))));
            theirs.init(trusted);
        }
        SSLContext context = SSLContext.getInstance("TLSv1.3");
        context.init(ours.getKeyManagers(), options.containsKey("trust") ? theirs.getTrustManagers() : null, null);
        return context;
    }

    private static KeyStore empty() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        return store;
    }

    private static byte[] read(String option) throws Exception {
        return Files.readAllBytes(Path.of(options.get(option)));
    }

    private static PrivateKey key() throws Exception {
        String pem = new String(read("key"), "US-ASCII").replaceAll("-----[A-Z ]+-----|\\s", "");
        byte[] der = Base64.getDecoder().decode(pem);
        return KeyFactory.getInstance(options.get("algorithm")).generatePrivate(new PKCS8EncodedKeySpec(der));
    }

    private static void serve(SSLContext context) throws Exception {
        InetAddress loopback = InetAddress.getByName("127.0.0.1");
        try (var listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 1, loopback)) {
            listener.setNeedClientAuth(options.containsKey("trust"));
            System.err.println("port " + listener.getLocalPort());
            for (int turn = 0; turn < times(); turn++) {
                try (SSLSocket socket = (SSLSocket) listener.accept()) {
                    shake(socket);
                    socket.getInputStream().transferTo(socket.getOutputStream());
                    socket.shutdownOutput();
                }
            }
        }
    }

    private static int times() {
        return Integer.parseInt(options.getOrDefault("times", "1"));
    }

    private static void connect(SSLContext context) throws Exception {
        if (times() == 1) {
            converse(context, System.in);
            return;
        }
        byte[] said = System.in.readAllBytes();
        for (int turn = 0; turn < times(); turn++) {
            converse(context, new ByteArrayInputStream(said));
        }
    }

    private static void converse(SSLContext context, InputStream said) throws Exception {
        int port = Integer.parseInt(options.get("port"));
        // JSSE would also be content with a certificate for the address it connects to, so it is given the name alone
        Socket plain = new Socket("127.0.0.1", port);
        String name = options.get("name");
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, name, port, true)) {
            shake(socket);
            Thread sending = new Thread(() -> send(said, socket));
            sending.start();
            OutputStream output = System.out;
            InputStream input = socket.getInputStream();
            byte[] buffer = new byte[1 << 14];
            for (int size = input.read(buffer); size >= 0; size = input.read(buffer)) {
                output.write(buffer, 0, size);
                output.flush();
            }
            sending.join();
        }
    }

    private static void send(InputStream said, SSLSocket socket) {
        try {
            said.transferTo(socket.getOutputStream());
            socket.shutdownOutput();
        } catch (Exception error) {
            System.err.println("error " + error);
            System.exit(1);
        }
    }

    private static void shake(SSLSocket socket) throws Exception {
        socket.setSoTimeout(10_000);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setProtocols(new String[] {options.getOrDefault("version", "TLSv1.3")});
        if (options.containsKey("suites")) {
            parameters.setCipherSuites(options.get("suites").split(","));
        }
        if (options.containsKey("protocols")) {
            parameters.setApplicationProtocols(options.get("protocols").split(","));
        }
        if (options.containsKey("name")) {
            parameters.setServerNames(List.of(new SNIHostName(options.get("name"))));
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
        }
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        var session = socket.getSession();
        System.err.println("suite " + session.getCipherSuite());
        System.err.println("protocol " + socket.getApplicationProtocol());
        System.err.println("shaken");
    }
}

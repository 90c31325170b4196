package org.apache.iceberg.rest;

import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;

/**
 * Iceberg's own REST servlet on loopback, once for each catalog: FOLDER/NAME.properties makes http://127.0.0.1:PORT/NAME.
 *
 * <p>A catalog with the property "credential", CLIENT:SECRET, gives tokens for it and takes no request without one. With
 * "token" it takes that one only.
 */
public class RestCatalogs extends HttpServlet {
  private final Path folder;
  private final Map<String, Mount> mounts = new ConcurrentHashMap<>();

  RestCatalogs(Path folder) {
    this.folder = folder;
  }

  public static void main(String[] arguments) throws Exception {
    Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
    ServletContextHandler context = new ServletContextHandler();
    context.addServlet(new ServletHolder(new RestCatalogs(Path.of(arguments[1]))), "/*");
    server.setHandler(context);
    server.start();
    server.join();
  }

  @Override
  protected void service(HttpServletRequest request, HttpServletResponse response) throws ServletException, IOException {
    String uri = request.getRequestURI();
    int end = uri.indexOf('/', 1);
    String name = end < 0 ? uri.substring(1) : uri.substring(1, end);
    if (end < 0 || !Files.exists(folder.resolve(name + ".properties"))) {
      response.sendError(HttpServletResponse.SC_NOT_FOUND);
      return;
    }
    mounts.computeIfAbsent(name, this::mount).serve(request, response, uri.substring(end));
  }

  private Mount mount(String name) {
    Properties read = new Properties();
    try (InputStream file = Files.newInputStream(folder.resolve(name + ".properties"))) {
      read.load(file);
    } catch (IOException error) {
      throw new RuntimeException(error);
    }
    Map<String, String> properties = new HashMap<>();
    read.forEach((key, value) -> properties.put((String) key, (String) value));
    return new Mount(name, properties);
  }

  private class Mount {
    private final Map<String, String> properties;
    private final Set<String> tokens = ConcurrentHashMap.newKeySet();
    private final RESTCatalogServlet servlet;

    Mount(String name, Map<String, String> properties) {
      this.properties = properties;
      JdbcCatalog catalog = new JdbcCatalog();
      catalog.initialize(name, properties);
      servlet = new RESTCatalogServlet(
          new RESTServerCatalogAdapter(new RESTCatalogServer.CatalogContext(catalog, properties)));
      try {
        servlet.init(getServletConfig());
      } catch (ServletException error) {
        throw new RuntimeException(error);
      }
      if (properties.containsKey("token")) {
        tokens.add(properties.get("token"));
      }
    }

    void serve(HttpServletRequest request, HttpServletResponse response, String path) throws ServletException, IOException {
      boolean guarded = properties.containsKey("credential") || properties.containsKey("token");
      if (guarded && path.equals("/v1/oauth/tokens")) {
        giveToken(request, response);
      } else if (guarded && !knows(request.getHeader("Authorization"))) {
        answer(response, 401, "{\"error\":{\"message\":\"Not authorized\",\"type\":\"NotAuthorizedException\",\"code\":401}}");
      } else {
        servlet.service(new HttpServletRequestWrapper(request) {
          @Override
          public String getRequestURI() {
            return path;
          }
        }, response);
      }
    }

    private boolean knows(String header) {
      return header != null && header.startsWith("Bearer ") && tokens.contains(header.substring(7));
    }

    /** Without "tokens" = "many" one token holds at a time: the older one is refused, as if it had expired. */
    private void giveToken(HttpServletRequest request, HttpServletResponse response) throws IOException {
      String given = request.getParameter("client_id") + ":" + request.getParameter("client_secret");
      if (!"client_credentials".equals(request.getParameter("grant_type")) || !given.equals(properties.get("credential"))) {
        answer(response, 401, "{\"error\":\"invalid_client\",\"error_description\":\"Credentials given were invalid\"}");
        return;
      }
      String token = UUID.randomUUID().toString();
      if (!"many".equals(properties.get("tokens"))) {
        tokens.clear();
      }
      tokens.add(token);
      answer(response, 200, "{\"access_token\":\"" + token + "\",\"token_type\":\"bearer\",\"expires_in\":3600}");
    }

    private void answer(HttpServletResponse response, int status, String body) throws IOException {
      response.setStatus(status);
      response.setContentType("application/json");
      response.getWriter().write(body);
    }
  }
}

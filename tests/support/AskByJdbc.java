import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

/** Asks a service as a BI tool does, and prints a line for each answer. Arguments: port, key. */
public class AskByJdbc {
  public static void main(String[] given) throws Exception {
    String url = "jdbc:arrow-flight-sql://127.0.0.1:" + given[0] + "/?useEncryption=false";
    try (Connection connection = DriverManager.getConnection(url, with(given[1]))) {
      look(connection.getMetaData());
      ask(connection);
      refuse(connection, "DELETE FROM trades");
      refuse(connection, "SELECT nothing FROM trades");
    }
    try (Connection connection = DriverManager.getConnection(url, with("wrong"))) {
      System.out.println("let in");
    } catch (SQLException refused) {
      System.out.println("kept out: " + refused.getMessage().lines().findFirst().get());
    }
  }

  private static Properties with(String key) {
    Properties properties = new Properties();
    properties.put("user", "anybody");
    properties.put("password", key);
    return properties;
  }

  private static void look(DatabaseMetaData about) throws SQLException {
    System.out.println("of " + about.getDatabaseProductName() + ", read only: " + about.isReadOnly());
    try (ResultSet tables = about.getTables(null, null, "tr%", null)) {
      while (tables.next()) System.out.println("table " + tables.getString(1) + "." + tables.getString(2) + "." + tables.getString(3));
    }
    try (ResultSet columns = about.getColumns(null, null, "trades", "pri%")) {
      while (columns.next()) System.out.println("column " + columns.getString(4) + " " + columns.getString(6));
    }
    try (ResultSet keys = about.getPrimaryKeys(null, null, "trades")) {
      System.out.println("keys: " + keys.next());
    }
  }

  private static void ask(Connection connection) throws SQLException {
    String text = "SELECT symbol, max(price), count(*), min(timestamp) FROM trades GROUP BY 1 ORDER BY 1 LIMIT 1";
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(text)) {
      while (rows.next())
        System.out.println(rows.getString(1) + " " + rows.getBigDecimal(2) + " " + rows.getLong(3) + " " + (rows.getTimestamp(4) != null));
    }
    try (PreparedStatement statement = connection.prepareStatement("SELECT count(*) FROM trades WHERE symbol = ? AND quantity > ?")) {
      for (String symbol : new String[] {"S03", "S04' OR true --"}) {
        statement.setString(1, symbol);
        statement.setString(2, "0");
        try (ResultSet rows = statement.executeQuery()) {
          rows.next();
          System.out.println("prepared " + rows.getLong(1));
        }
      }
    }
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT * FROM range(60000)")) {
      int read = 0;
      while (read < 5 && rows.next()) read++;
      System.out.println("first " + read);
    }
  }

  private static void refuse(Connection connection, String text) {
    try (Statement statement = connection.createStatement()) {
      statement.execute(text);
      System.out.println("done: " + text);
    } catch (SQLException refused) {
      System.out.println("refused: " + refused.getMessage().lines().findFirst().get());
    }
  }
}

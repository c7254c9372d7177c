import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;

import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The same windows as a Kafka Streams job, for a benchmark.
 *
 * <p>Reads properties from its standard input: those of Kafka Streams, and {@code input}, {@code output} (topics) and
 * {@code schema} (a file: Avro, of a payment). Processor API; a key has one value, its times (and amounts) as they count,
 * in a persistent (RocksDB) store with changelog and cache. It works until SIGTERM. The input has one partition, so that
 * no repartition topic is needed on the way to the terminals.
 */
public final class StreamsJob {
  private static final long DAY = 86_400_000_000L;
  private static final long[] WINDOWS = {DAY, 7 * DAY, 30 * DAY};
  private static final String[] NAMES = {"1d", "7d", "30d"};
  private static final long DELAY = 7 * DAY;
  private static final long LATENESS = DAY;
  private static final int FRAME = 5;

  private StreamsJob() {}

  /** What is known of a payment on its way. */
  private record Known(String eventId, long at, StringBuilder json) {}

  /** Count and mean amount of the customer, the payment itself counted. */
  private static final class Customers implements Processor<byte[], byte[], String, Known> {
    private final GenericDatumReader<GenericRecord> reader;
    private ProcessorContext<String, Known> context;
    private KeyValueStore<String, byte[]> store;
    private BinaryDecoder decoder;
    private GenericRecord event;

    Customers(Schema schema) {
      reader = new GenericDatumReader<>(schema);
    }

    @Override
    public void init(ProcessorContext<String, Known> given) {
      context = given;
      store = given.getStateStore("customers");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      byte[] value = record.value();
      try {
        decoder = DecoderFactory.get().binaryDecoder(value, FRAME, value.length - FRAME, decoder);
        event = reader.read(event, decoder);
      } catch (IOException error) {
        throw new IllegalStateException(error);
      }
      GenericRecord payload = (GenericRecord) event.get("payload");
      String customer = payload.get("customer_id").toString();
      long at = (Long) event.get("ts_utc");
      long[] seen = longs(store.get(customer));
      int count = seen.length / 2;
      int place = notAfter(seen, count, at);
      long[] times = new long[count + 1];
      long[] amounts = new long[count + 1];
      System.arraycopy(seen, 0, times, 0, place);
      System.arraycopy(seen, place, times, place + 1, count - place);
      System.arraycopy(seen, count, amounts, 0, place);
      System.arraycopy(seen, count + place, amounts, place + 1, count - place);
      times[place] = at;
      amounts[place] = (Long) payload.get("amount_minor");
      String eventId = event.get("event_id").toString();
      StringBuilder json = new StringBuilder(400).append("{\"event_id\":\"").append(eventId).append('"');
      for (int window = 0; window < WINDOWS.length; window++) {
        int start = notAfter(times, count + 1, at - WINDOWS[window]);
        long sum = 0;
        for (int entry = start; entry <= place; entry++) {
          sum += amounts[entry];
        }
        int inside = place + 1 - start;
        json.append(",\"customer_count_").append(NAMES[window]).append("\":").append(inside);
        json.append(",\"customer_mean_amount_").append(NAMES[window]).append("\":").append((double) sum / inside);
      }
      int gone = notAfter(times, count + 1, times[count] - WINDOWS[2] - LATENESS);
      int kept = count + 1 - gone;
      ByteBuffer packed = ByteBuffer.allocate(16 * kept);
      packed.asLongBuffer().put(times, gone, kept).put(amounts, gone, kept);
      store.put(customer, packed.array());
      String terminal = payload.get("terminal_id").toString();
      context.forward(new Record<>(terminal, new Known(eventId, at, json), record.timestamp()));
    }
  }

  /** Count of the terminal, a week behind. */
  private static final class Terminals implements Processor<String, Known, String, byte[]> {
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, byte[]> store;

    @Override
    public void init(ProcessorContext<String, byte[]> given) {
      context = given;
      store = given.getStateStore("terminals");
    }

    @Override
    public void process(Record<String, Known> record) {
      Known known = record.value();
      long[] seen = longs(store.get(record.key()));
      int place = notAfter(seen, seen.length, known.at());
      long[] times = new long[seen.length + 1];
      System.arraycopy(seen, 0, times, 0, place);
      System.arraycopy(seen, place, times, place + 1, seen.length - place);
      times[place] = known.at();
      int end = notAfter(times, times.length, known.at() - DELAY);
      StringBuilder json = known.json();
      for (int window = 0; window < WINDOWS.length; window++) {
        int start = notAfter(times, times.length, known.at() - DELAY - WINDOWS[window]);
        json.append(",\"terminal_count_").append(NAMES[window]).append("\":").append(end - start);
      }
      int gone = notAfter(times, times.length, times[times.length - 1] - DELAY - WINDOWS[2] - LATENESS);
      ByteBuffer packed = ByteBuffer.allocate(8 * (times.length - gone));
      packed.asLongBuffer().put(times, gone, times.length - gone);
      store.put(record.key(), packed.array());
      byte[] value = json.append('}').toString().getBytes(StandardCharsets.US_ASCII);
      context.forward(new Record<>(known.eventId(), value, record.timestamp()));
    }
  }

  public static void main(String[] arguments) throws IOException, InterruptedException {
    Properties given = new Properties();
    given.load(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    Schema schema = new Schema.Parser().parse(Files.readString(Path.of((String) given.remove("schema"))));
    Topology topology = new Topology();
    ByteArrayDeserializer bytes = new ByteArrayDeserializer();
    topology.addSource("payments", bytes, bytes, (String) given.remove("input"));
    topology.addProcessor("customer-windows", () -> new Customers(schema), "payments");
    topology.addProcessor("terminal-windows", Terminals::new, "customer-windows");
    for (String entity : new String[] {"customer", "terminal"}) {
      var store = Stores.persistentKeyValueStore(entity + "s");
      var builder = Stores.keyValueStoreBuilder(store, Serdes.String(), Serdes.ByteArray()).withCachingEnabled();
      topology.addStateStore(builder, entity + "-windows");
    }
    String output = (String) given.remove("output");
    topology.addSink("features", output, new StringSerializer(), new ByteArraySerializer(), "terminal-windows");
    KafkaStreams streams = new KafkaStreams(topology, given);
    CountDownLatch ended = new CountDownLatch(1);
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.ERROR) {
            System.exit(1);
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    ended.await();
  }

  private static long[] longs(byte[] value) {
    if (value == null) {
      return new long[0];
    }
    long[] found = new long[value.length / 8];
    ByteBuffer.wrap(value).asLongBuffer().get(found);
    return found;
  }

  /** How many of the first {@code count} ascending times are not after {@code bound}. */
  private static int notAfter(long[] times, int count, long bound) {
    int low = 0;
    int high = count;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (times[middle] <= bound) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

#!/bin/sh
# Act on blocked transactions with Kafka's own console client, by headers alone: values are not even printed.
# Ids hold no control characters, so a tab parts the headers; they stand in the order outcome, transaction_id, score.
tab=$(printf '\t')
kafka-console-consumer.sh --bootstrap-server "${FRAUD_KAFKA_BOOTSTRAP:-localhost:9092}" --group act-on-block-sh \
    --topic "${FRAUD_TOPIC_PREFIX:-}processed_transactions" --from-beginning \
    --formatter-property print.headers=true --formatter-property print.value=false \
    --formatter-property "headers.separator=$tab" |
while IFS=$tab read -r outcome id score; do
    [ "$outcome" = "outcome:block" ] && echo "hold the goods: ${id#transaction_id:} score ${score#score:}"
done

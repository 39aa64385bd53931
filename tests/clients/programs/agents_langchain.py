"""LangChain's create_agent, with one tool; prints what it says in the end."""

import os

os.environ["LANGSMITH_TRACING"] = "false"

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

MODEL = ChatOpenAI(
    model="assistant",
    base_url=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
    max_retries=0,
    streaming=os.environ.get("STREAM") == "1",
)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"21 °C in {city}"


agent = create_agent(MODEL, [weather])
state = agent.invoke({"messages": [{"role": "user", "content": "Weather in Rome?"}]})
print(state["messages"][-1].content)
